UPDATE price SET country = 'dk' WHERE country = 'se';
UPDATE price SET cents = 6 WHERE sku = 'y';
DELETE FROM price WHERE year = 2024;
