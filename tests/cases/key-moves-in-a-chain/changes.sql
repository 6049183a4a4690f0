BEGIN;
UPDATE seat SET id = 4 WHERE id = 3;
UPDATE seat SET id = 3 WHERE id = 2;
UPDATE seat SET id = 2 WHERE id = 1;
COMMIT;
UPDATE seat SET id = id + 10 ORDER BY id DESC;
UPDATE seat SET id = id - 9 ORDER BY id;
