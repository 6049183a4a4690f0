INSERT INTO slot (id, place, who) VALUES (1, 10, 'ann'), (2, 20, 'bob'), (3, 30, 'cy');
