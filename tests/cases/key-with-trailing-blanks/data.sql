INSERT INTO code VALUES ('a', 'x', 1), ('b ', 'y ', 2), (' c', ' z', 3);
