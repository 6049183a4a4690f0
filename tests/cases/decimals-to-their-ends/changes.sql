UPDATE d SET a = 10, b = 1.10, c = 0, f = 1, g = 100 WHERE id = 3;
UPDATE d SET g = -999999999.000000001 WHERE id = 2;
