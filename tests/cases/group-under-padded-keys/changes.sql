UPDATE line SET order_id = 20, line_no = 2 WHERE order_id = 2;
UPDATE line SET line_no = 3 WHERE order_id = 1 AND line_no = 10;
DELETE FROM line WHERE order_id = 1 AND line_no = 2;
