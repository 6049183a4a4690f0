UPDATE click SET page = 'shop' WHERE id = 1;
UPDATE click SET at = '2026-02-02' WHERE id = 2;
DELETE FROM click WHERE id = 3;
INSERT INTO click VALUES (5, 'home', '2026-01-05');
UPDATE reply SET post_id = 2, n = 9 WHERE post_id = 1 AND n = 2;
UPDATE post SET id = 3 WHERE id = 1;
DELETE FROM reply WHERE post_id = 2 AND n = 1;
