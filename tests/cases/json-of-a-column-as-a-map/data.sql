INSERT INTO person VALUES (1, 'Ann', '{"city": "Bonn", "n": [1, 2.50]}', '["a", "b"]'), (2, 'Bob', NULL, NULL), (3, 'Eve', '[1]', NULL);
