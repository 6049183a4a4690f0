INSERT INTO doc VALUES (1, 'x', 'one', 1), (1, 'y', NULL, NULL), (2, 'x', 'three', 3);
