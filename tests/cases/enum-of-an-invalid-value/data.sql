SET sql_mode = '';
INSERT INTO e VALUES (1, 'nonsense', 'm9'), (2, 'b', 'm1,m9');
