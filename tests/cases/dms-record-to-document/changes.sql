UPDATE customer SET phone = '555-2', ok = b'0' WHERE id = 2;
UPDATE customer SET score = NULL WHERE id = 1;
UPDATE customer SET id = 3 WHERE id = 2;
