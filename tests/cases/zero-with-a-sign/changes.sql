UPDATE level SET low = 2 WHERE name = 'hill';
UPDATE level SET low = -0e0 WHERE name = 'top';
INSERT INTO level VALUES (5, 6, 'moon');
