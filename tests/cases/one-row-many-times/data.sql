INSERT INTO counter VALUES (1, 0, 'a'), (2, 0, 'b');
