UPDATE orders SET coupon = NULL, note = 'new' WHERE id = 1;
UPDATE orders SET coupon = 'MAY', note = NULL WHERE id = 2;
UPDATE line SET gift = NULL WHERE order_id = 2;
UPDATE line SET gift = 'box' WHERE order_id = 1 AND n = 2;
DELETE FROM orders WHERE id = 3;
INSERT INTO orders VALUES (4, NULL, NULL);
