INSERT INTO ad VALUES (1, 'open', 0), (2, 'closed', 5), (3, 'open', NULL), (4, NULL, 9), (5, 'open', 3);
