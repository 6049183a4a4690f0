UPDATE orders SET status = 'sent', note = NULL WHERE id = 2;
DELETE FROM orders WHERE id IN (1, 3);
DELETE FROM line WHERE order_id = 4;
UPDATE line SET order_id = 2, line_no = 9 WHERE order_id = 1 AND line_no = 2;
UPDATE tag SET order_id = 6 WHERE order_id = 5;
INSERT INTO orders VALUES (6, 'found', 'y');
DELETE FROM tag WHERE tag = 'rush';
UPDATE orders SET id = 7 WHERE id = 6;
