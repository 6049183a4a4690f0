INSERT INTO session VALUES (1, 7, '2026-01-31 12:00:00.999'), (2, 7, NULL), (3, 8, '1969-12-31 23:59:59.500');
INSERT INTO grant_of VALUES (7, 'read', 1767225600), (7, 'write', NULL);
