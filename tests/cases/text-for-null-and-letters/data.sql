INSERT INTO customer VALUES (1, 'de', 'Ann@Example.org', NULL), (2, NULL, 'BOB@example.org', '030'), (3, 'XX', 'eve@example.org', NULL);
