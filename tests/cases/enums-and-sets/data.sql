INSERT INTO e VALUES (1, 'small', 'a,c d', 'b,r', '20'), (2, 'x,y', '', '', '10'), (3, NULL, NULL, NULL, NULL);
