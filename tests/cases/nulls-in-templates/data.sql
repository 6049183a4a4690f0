INSERT INTO person VALUES (1, 'Ann', 'Ek', 1), (2, NULL, NULL, NULL), (3, 'Bo', 'Ek', 3);
INSERT INTO omitted SELECT * FROM person;
INSERT INTO line VALUES (1, 1, 'a'), (1, 2, NULL);
