INSERT INTO product VALUES ('a', 'Apple', 1), ('b', 'Bread', 2), ('c', NULL, NULL);
INSERT INTO line VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c'), (2, 2, 'x'), (3, 1, NULL);
