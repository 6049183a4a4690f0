UPDATE setting SET value = 'light' WHERE user_id = 1 AND name = 'theme';
UPDATE setting SET name = 'language' WHERE name = 'lang';
INSERT INTO setting VALUES (2, 'lang', 'en');
DELETE FROM setting WHERE user_id = 3;
