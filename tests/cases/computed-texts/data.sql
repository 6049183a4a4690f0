INSERT INTO person VALUES (1, 'Ann Ask', 'Oslo', 7, 2.5), (2, NULL, NULL, NULL, NULL), (3, 'Ångström', 'ØRSTA', -7, 1e21);
