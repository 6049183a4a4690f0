INSERT INTO tag VALUES (1, 'a'), (1, 'B'), (1, 'æ'), (2, 'a'), (3, 'last');
