INSERT INTO customer VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO orders VALUES (10, 1, 9.90), (11, 1, 0.10), (12, 2, NULL);
INSERT INTO address VALUES (1, 'home', 'A st'), (1, 'work', 'B st');
