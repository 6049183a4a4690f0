UPDATE t SET v = '1e3', j = '[]', f = 2 WHERE id = 2;
UPDATE t SET y = 1999 WHERE id = 1;
