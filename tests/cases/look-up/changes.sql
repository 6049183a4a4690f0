UPDATE customer SET name = 'Anna' WHERE id = 7;
UPDATE orders SET customer_id = 7, status = 'paid' WHERE id = 3;
UPDATE customer SET city = 'Köln' WHERE id = 8;
INSERT INTO customer VALUES (99, 'Zoe', 'Rom');
DELETE FROM orders WHERE id = 2;
INSERT INTO orders VALUES (6, 9, 'new');
DELETE FROM customer WHERE id = 9;
