INSERT INTO line VALUES (1, 1, 5), (1, 2, 0), (2, 1, 0), (3, 1, 4), (4, 1, 1);
