INSERT INTO line VALUES (1, 1, 'gift', 5), (1, 2, 'gift', 3), (1, 3, 'new', 5), (2, 1, NULL, NULL), (3, 1, 'old', 1), (4, 1, 'gift', 2);
