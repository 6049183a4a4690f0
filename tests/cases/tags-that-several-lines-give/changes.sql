DELETE FROM line WHERE order_id = 1 AND line_no = 1;
UPDATE line SET tag = 'gift', rating = 4 WHERE order_id = 1 AND line_no = 3;
UPDATE line SET tag = 'GIFT' WHERE order_id = 1 AND line_no = 2;
INSERT INTO line VALUES (2, 2, 'new', 1), (2, 3, 'new', 1);
UPDATE line SET order_id = 4, line_no = 2 WHERE order_id = 3;
DELETE FROM line WHERE order_id = 2 AND line_no = 3;
