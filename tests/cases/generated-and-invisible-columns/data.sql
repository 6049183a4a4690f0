INSERT INTO g (id, price, n) VALUES (1, 9.99, 3), (2, 0.01, NULL);
INSERT INTO g (id, price, n, hidden) VALUES (3, 1, 1, 'shown');
