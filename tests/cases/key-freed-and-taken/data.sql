INSERT INTO stock VALUES ('a', 1, 'first'), ('b', 2, 'first'), ('c', 3, 'first');
