INSERT INTO n VALUES (1, NULL, NULL, NULL), (2, 0, '', 'x'), (3, 1, 'b', NULL);
