INSERT INTO customer VALUES (1, 'Ann', 'Ask', '555-1', '1990-02-03', 1.50, b'1'), (2, 'Bob', NULL, NULL, NULL, NULL, NULL);
