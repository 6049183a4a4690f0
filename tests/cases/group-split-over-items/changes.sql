UPDATE line SET line_no = 5 WHERE order_id = 1 AND line_no = 4;
DELETE FROM line WHERE order_id = 1 AND line_no = 3;
INSERT INTO line VALUES (2, 6, 'p6');
UPDATE line SET order_id = 2 WHERE order_id = 1 AND line_no = 1;
UPDATE label SET label = 'rot', weight = 5 WHERE doc = 'a' AND label = 'red';
DELETE FROM label WHERE doc = 'b';
INSERT INTO label VALUES ('a', 'white', 6);
