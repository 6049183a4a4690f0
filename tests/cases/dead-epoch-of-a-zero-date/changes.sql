SET sql_mode = '';
UPDATE z SET n = 3 WHERE id = 1;
UPDATE z SET d = NULL WHERE id = 2;
