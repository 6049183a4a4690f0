INSERT INTO person VALUES (1, 'Ann', 30, 'x'), (2, 'Bob', 40, NULL);
