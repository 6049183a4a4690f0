INSERT INTO answer VALUES (1, 'a', NULL, NULL), (1, 'b', '', ''), (2, 'a', 'x', x'00');
