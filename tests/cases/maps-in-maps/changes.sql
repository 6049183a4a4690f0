DELETE FROM post WHERE id = 1;
UPDATE post SET title = 'Deux' WHERE id = 2;
DELETE FROM comment WHERE post = 1 AND n = 1;
DELETE FROM liked WHERE post = 1;
DELETE FROM comment WHERE post = 3;
DELETE FROM post WHERE id = 3;
UPDATE comment SET post = 2, n = 5 WHERE post = 1;
INSERT INTO post VALUES (9, 'eve', 'Late');
INSERT INTO liked VALUES (9, 'bob', 'eve', '2026-02-01'), (9, 'ann', 'eve', '2026-02-02');
