UPDATE sale SET price = 10 WHERE id = 2;
UPDATE sale SET price = 9 WHERE id = 1;
UPDATE sale SET note = 'z' WHERE id = 4;
UPDATE sale SET n = 6 WHERE id = 5;
UPDATE sale SET day = '2026-12-31' WHERE id = 3;
