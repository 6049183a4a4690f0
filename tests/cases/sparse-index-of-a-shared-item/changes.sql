UPDATE orders SET status = 'done' WHERE id = 1;
UPDATE orders SET status = 'open' WHERE id = 4;
UPDATE orders SET buyer = NULL WHERE id = 3;
DELETE FROM orders WHERE id = 5;
