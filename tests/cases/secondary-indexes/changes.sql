UPDATE orders SET status = NULL WHERE customer = 1 AND id = 1;
UPDATE orders SET status = 'new', placed = '2026-03-01 00:00:00' WHERE id = 2;
