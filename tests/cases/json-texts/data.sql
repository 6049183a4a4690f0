INSERT INTO j VALUES (1, '{"b":1,  "a":2, "b":3}'), (2, ' [1.0, 1e3] '), (3, 'null'), (4, NULL);
