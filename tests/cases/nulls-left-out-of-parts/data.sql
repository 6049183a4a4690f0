INSERT INTO orders VALUES (1, 'SPRING', NULL), (2, NULL, 'call'), (3, NULL, NULL);
INSERT INTO line VALUES (1, 1, 'p1', NULL), (1, 2, NULL, NULL), (2, 1, 'p2', 'card'), (4, 1, NULL, 'bow');
