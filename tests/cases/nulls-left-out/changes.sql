UPDATE n SET a = NULL, b = NULL, c = NULL WHERE id = 3;
UPDATE n SET a = 1 WHERE id = 1;
