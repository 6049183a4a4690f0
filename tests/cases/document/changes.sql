UPDATE customer SET score = NULL WHERE id = 1;
UPDATE customer SET name = 'Bobby', joined = '2026-01-01' WHERE id = 2;
UPDATE customer SET id = 30 WHERE id = 3;
