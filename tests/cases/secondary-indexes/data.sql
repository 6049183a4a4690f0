INSERT INTO orders VALUES (1, 1, 'new', '2026-01-01 00:00:00', 5), (1, 2, NULL, NULL, 6), (2, 1, 'sent', '2026-02-01 00:00:00', NULL);
