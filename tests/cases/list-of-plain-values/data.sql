INSERT INTO orders VALUES (1, 'new'), (2, 'new');
INSERT INTO line VALUES (1, 1, 'p1', '2026-01-02'), (1, 2, 'p2', '2026-01-01'), (1, 10, 'p1', '2026-01-02'), (2, 1, 'p3', '2026-01-01'), (3, 1, NULL, '2026-01-01');
