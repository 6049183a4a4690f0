INSERT INTO event VALUES (1, 'alert', 'a'), (2, 'log', 'b'), (3, 'log', 'c'), (4, 'trace', 'd');
