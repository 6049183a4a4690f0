INSERT INTO c VALUES (1, REPEAT('abc', 100), REPEAT(x'0001', 30), 'x'), (2, 'é', x'00', NULL), (3, NULL, NULL, ''), (4, '', '', '');
