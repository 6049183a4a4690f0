INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1), ('c1', 'o1', 'p2', 2), ('c1', 'o2', 'p1', 3), ('c2', 'o3', 'p9', 4);
