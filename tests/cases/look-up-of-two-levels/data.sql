INSERT INTO orders VALUES (1, 7, '2026-01-01'), (2, 7, '2026-01-02'), (3, 8, '2026-01-03');
INSERT INTO line VALUES (1, 1, 'p1', 2), (1, 2, 'p2', 1), (2, 1, 'p3', 5), (3, 1, 'p4', 1);
