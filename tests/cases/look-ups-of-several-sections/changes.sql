UPDATE product SET name = 'Apples', shelf = 2 WHERE sku = 'a';
UPDATE line SET sku = 'b' WHERE order_id = 2 AND n = 1;
INSERT INTO product VALUES ('x', 'Xylitol', 7);
DELETE FROM product WHERE sku = 'b';
INSERT INTO line VALUES (4, 1, 'a');
DELETE FROM line WHERE order_id = 1 AND n = 1;
