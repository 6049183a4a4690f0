UPDATE line SET n = 0 WHERE cart = 3;
UPDATE line SET n = 6 WHERE cart = 1 AND no = 2;
UPDATE line SET n = 7 WHERE cart = 2;
UPDATE line SET cart = 5, n = 0 WHERE cart = 4;
DELETE FROM line WHERE cart = 1 AND no = 1;
