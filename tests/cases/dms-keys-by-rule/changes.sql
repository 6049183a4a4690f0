UPDATE reading SET at = '2026-01-02 00:00:00' WHERE id = 1;
UPDATE reading SET station = 'c' WHERE id = 3;
UPDATE reading SET celsius = 20.0 WHERE id = 2;
