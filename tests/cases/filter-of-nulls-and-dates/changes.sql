UPDATE log SET at = '2026-06-06 06:06:06' WHERE id = 2;
UPDATE log SET price = 10.00 WHERE id = 1;
UPDATE log SET price = 9 WHERE id = 4;
