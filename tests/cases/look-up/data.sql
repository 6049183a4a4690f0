INSERT INTO customer VALUES (7, 'Ann', 'Bonn'), (8, 'Bob', NULL), (9, 'Eve', 'Kiel');
INSERT INTO orders VALUES (1, 7, 'new'), (2, 7, 'paid'), (3, 8, 'new'), (4, NULL, 'new'), (5, 99, 'new');
