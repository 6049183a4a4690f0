INSERT INTO step VALUES (1, 10, 'mix', 5), (1, 2, 'weigh', NULL), (1, 9, 'wait', 60), (2, 1, 'serve', 1);
