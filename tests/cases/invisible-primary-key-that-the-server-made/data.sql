INSERT INTO log VALUES ('a', 1), ('a', 1), ('b', NULL);
