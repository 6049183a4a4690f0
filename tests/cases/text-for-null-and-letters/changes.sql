UPDATE customer SET country = NULL WHERE id = 1;
UPDATE customer SET country = 'fr', email = 'Bob@Example.org' WHERE id = 2;
