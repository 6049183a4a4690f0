UPDATE line SET placed = '2026-01-03' WHERE order_id = 1 AND line_no = 2;
INSERT INTO line VALUES (1, 3, 'p4', '2026-01-02');
UPDATE line SET product = NULL WHERE order_id = 1 AND line_no = 1;
DELETE FROM line WHERE order_id = 2;
INSERT INTO line VALUES (3, 2, 'p5', '2026-01-09');
UPDATE orders SET status = 'paid' WHERE id = 1;
