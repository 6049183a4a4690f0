UPDATE line SET quantity = 3, price = 9.05 WHERE order_id = 1 AND line_no = 1;
UPDATE line SET order_id = 3 WHERE order_id = 2;
UPDATE line SET line_no = 20 WHERE order_id = 1 AND line_no = 2;
