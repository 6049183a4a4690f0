UPDATE person SET first = 'Robert', b = 4 WHERE id = 2;
UPDATE person SET a = NULL WHERE id = 1;
