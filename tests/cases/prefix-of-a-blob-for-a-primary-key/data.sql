INSERT INTO counter VALUES ('aaaa', '/a', 1), (x'00', '/a', 2), ('bbbb-and-more', '/b/and/much/more', 3), ('cc', '/c', 4);
