INSERT INTO employee VALUES (1, 'red', 'Ann'), (2, 'blue', 'Bob'), (3, 'red', 'Cy'), (4, 'green', 'Di'), (5, 'red', 'Ed'), (6, 'blue', 'Fay'), (7, 'red', NULL);
