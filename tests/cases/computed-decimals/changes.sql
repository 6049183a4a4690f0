UPDATE line SET quantity = 7 WHERE id = 1;
UPDATE line SET price = 2.5 WHERE id = 2;
