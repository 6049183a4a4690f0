INSERT INTO person VALUES (1, 'Ann', '[1, 2]'), (2, 'BOB', NULL);
