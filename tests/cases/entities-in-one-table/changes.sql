UPDATE orders SET customer_id = 2 WHERE id = 11;
DELETE FROM customer WHERE id = 1;
UPDATE address SET kind = 'home', customer_id = 2 WHERE kind = 'work';
INSERT INTO customer VALUES (11, 'Eve');
