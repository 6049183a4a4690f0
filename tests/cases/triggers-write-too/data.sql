INSERT INTO line VALUES (1, 1, 100), (2, 1, NULL), (3, 2, 300);
