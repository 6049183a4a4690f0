UPDATE orders SET buyer = 8 WHERE id = 10;
DELETE FROM line WHERE order_id = 1;
INSERT INTO line VALUES (1,7,2);
