INSERT INTO person VALUES (1, 'Ann', 'Ask', 1, 2), (2, 'Bob', NULL, 3, NULL);
