UPDATE g SET n = 100 WHERE id = 2;
UPDATE g SET hidden = NULL WHERE id = 1;
UPDATE g SET price = 2 WHERE id = 3;
