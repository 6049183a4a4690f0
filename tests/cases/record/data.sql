INSERT INTO city VALUES (1, 'Oslo', 700000), (2, 'Bergen', 290000), (3, 'Roros', 5600), (-4, 'Below', 0);
