INSERT INTO line VALUES (1, 1, 'pen', 2, 9.50), (1, 2, 'ink', 1, 0.00), (2, 1, 'cap', NULL, 12.00);
