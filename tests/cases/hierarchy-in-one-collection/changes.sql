UPDATE orders SET status = 'paid' WHERE id = 1;
UPDATE item SET order_id = 11, n = 2 WHERE order_id = 1 AND n = 2;
DELETE FROM item WHERE order_id = 11 AND n = 1;
UPDATE setting SET name = 'VAT', value = '20' WHERE name = 'vat';
DELETE FROM orders WHERE id = 11;
INSERT INTO orders VALUES (12, NULL, 'new');
