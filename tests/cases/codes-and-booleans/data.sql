INSERT INTO member VALUES (1, 'new', 'Y', 0, '2026-01-31 12:00:00.750'), (2, 'paid', NULL, 1, NULL), (3, 'gone', 'y', 0, NULL);
