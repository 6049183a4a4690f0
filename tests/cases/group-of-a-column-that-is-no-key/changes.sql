UPDATE employee SET team = 'blue' WHERE id IN (3, 4);
UPDATE employee SET name = 'Bo' WHERE id = 2;
DELETE FROM employee WHERE id = 1;
UPDATE employee SET id = 50 WHERE id = 5;
