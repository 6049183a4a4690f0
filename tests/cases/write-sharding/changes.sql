UPDATE reading SET taken = '2026-02-01 08:00:00' WHERE id = 35;
DELETE FROM reading WHERE id = 36;
INSERT INTO reading VALUES (37, 'Süd', '2026-02-01 00:00:00', 23);
