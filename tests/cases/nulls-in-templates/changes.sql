UPDATE person SET last = NULL WHERE id = 1;
UPDATE omitted SET last = NULL WHERE id = 1;
UPDATE person SET first = 'Cy', last = 'Ek', n = 2 WHERE id = 2;
UPDATE omitted SET first = 'Cy', last = 'Ek', n = 2 WHERE id = 2;
UPDATE person SET n = NULL WHERE id = 3;
UPDATE omitted SET n = NULL WHERE id = 3;
UPDATE line SET item = NULL WHERE line = 1;
