UPDATE tier SET floor = 1.5, name = 'same' WHERE at = 10;
UPDATE tier SET floor = 100 WHERE name = 'b';
