UPDATE answer SET text = NULL, raw = NULL WHERE form = 2;
UPDATE answer SET text = '', raw = '' WHERE form = 1 AND question = 'a';
INSERT INTO answer VALUES (3, 'a', NULL, x'');
