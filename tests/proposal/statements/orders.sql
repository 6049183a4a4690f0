-- times: 20000
SELECT * FROM customer WHERE id = 1;
-- times: 3000
SELECT * FROM customer WHERE email = 'e';
-- times: 9000
SELECT * FROM orders WHERE customer = 1 ORDER BY placed DESC LIMIT 10;
-- times: 12000
SELECT * FROM orders o JOIN order_line l ON l.orders = o.id WHERE o.id = 1;
-- times: 4000
SELECT * FROM orders o JOIN shipment s ON s.orders = o.id WHERE o.id = 1;
-- times: 50000
SELECT * FROM product WHERE sku = 's';
-- times: 3000
INSERT INTO orders VALUES (1, 1, 'new', NOW());
-- times: 9000
INSERT INTO order_line VALUES (1, 1, 's', 1, 2.5);
-- times: 5000
UPDATE orders SET state = 'paid' WHERE id = 1;
-- times: 2500
INSERT INTO shipment VALUES (1, 1, 'c', 't');
