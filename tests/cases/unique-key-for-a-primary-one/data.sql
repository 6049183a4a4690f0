INSERT INTO asset VALUES ('s1', 'ann', 1, 1), ('s2', NULL, 1, 2), ('s3', NULL, 2, 1), ('s4', 'bob', 2, 2);
