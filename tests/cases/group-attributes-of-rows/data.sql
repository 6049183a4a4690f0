INSERT INTO reading VALUES (1, 0, -3.5, 2.25, NULL), (1, 1, -4.0, 0.1, ''), (2, 0, 10.0, 3, 'calm');
