UPDATE person SET name = 'Bo', n = 8 WHERE id = 2;
UPDATE person SET f = 0.1 WHERE id = 3;
