INSERT INTO country VALUES ('xx', 'Nowhere');
DELETE FROM country WHERE code = 'fr';
UPDATE address SET street = 'E' WHERE id = 3;
UPDATE address SET code = 'DE' WHERE id = 1;
UPDATE country SET name = 'Deutschland' WHERE code = 'de';
DELETE FROM visit WHERE id = 3;
