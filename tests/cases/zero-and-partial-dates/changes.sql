SET sql_mode = '';
UPDATE z SET d = '0000-00-00', dt = 0, ts = 0 WHERE id = 3;
UPDATE z SET d = '0000-01-01' WHERE id = 1;
