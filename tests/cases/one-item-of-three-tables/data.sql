INSERT INTO orders VALUES (1, 'new', NULL), (2, 'paid', 'x'), (3, 'new', NULL);
INSERT INTO line VALUES (1, 1, 'pen'), (1, 2, 'ink'), (2, 1, 'cap'), (4, 1, 'orphan');
INSERT INTO tag VALUES (1, 'gift'), (1, 'rush'), (5, 'lost');
