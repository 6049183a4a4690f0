INSERT INTO user VALUES ('Ann', 1), ('bob', 2), ('Zoë', 3);
