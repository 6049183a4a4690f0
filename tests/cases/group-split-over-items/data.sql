INSERT INTO line VALUES (1, 1, 'p1'), (1, 2, 'p2'), (1, 3, 'p3'), (1, 4, 'p4'), (2, 3, 'p5');
INSERT INTO label VALUES ('a', 'red', 1), ('a', 'blue', 2), ('a', 'Grün', 3), ('b', 'red', 4);
