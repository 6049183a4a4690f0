INSERT INTO mail VALUES ('a', 1, 'one'), ('A', 2, 'two'), ('á', 3, 'three'), ('a', 4, 'four'), ('A', 5, 'five'), ('b', 6, 'six');
