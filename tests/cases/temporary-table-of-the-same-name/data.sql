INSERT INTO basket VALUES (1, 1), (2, 2);
