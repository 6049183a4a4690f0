INSERT INTO word VALUES ('ünï', 1), ('😀', 2), ('a"b', 3), ('back\\slash', 4), ('line\nbreak', 5), (' lead', 6), ('${n}', 7);
