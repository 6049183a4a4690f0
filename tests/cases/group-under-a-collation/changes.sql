UPDATE mail SET box = 'A' WHERE id = 4;
UPDATE mail SET box = 'B' WHERE id = 6;
DELETE FROM mail WHERE id = 2;
