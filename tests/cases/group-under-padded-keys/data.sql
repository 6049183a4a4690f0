INSERT INTO line VALUES (1, 1, 'p1'), (1, 10, 'p2'), (1, 2, NULL), (2, 1, 'p3'), (20, 1, 'p4');
