UPDATE step SET minutes = 90 WHERE no = 9;
UPDATE step SET no = 1 WHERE recipe = 1 AND no = 10;
INSERT INTO step VALUES (1, 100, 'eat', 20), (2, 0, 'buy', 30);
DELETE FROM step WHERE recipe = 1 AND no = 2;
