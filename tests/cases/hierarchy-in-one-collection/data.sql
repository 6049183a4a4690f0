INSERT INTO orders VALUES (1, 'Ann', 'new'), (11, 'Bob', 'new');
INSERT INTO item VALUES (1, 1, 'p1'), (1, 2, 'p2'), (11, 1, 'p3');
INSERT INTO setting VALUES ('vat', '19'), ('a#b', 'x');
