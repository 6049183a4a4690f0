INSERT INTO setting VALUES (1, 'theme', 'dark'), (1, 'lang', 'no'), (2, 'theme', NULL), (3, 'x', 'y');
