DELETE FROM user WHERE id = 1;
DELETE FROM profile WHERE user_id = 2;
INSERT INTO profile VALUES (3, 'three', x'FFFF'), (4, 'four', NULL);
UPDATE profile SET user_id = 5 WHERE user_id = 1;
UPDATE user SET mail = NULL WHERE id = 2;
