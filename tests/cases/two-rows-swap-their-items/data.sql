INSERT INTO runner VALUES (1, 1, 'ann'), (2, 2, 'bob'), (3, 3, 'cy');
