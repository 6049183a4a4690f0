UPDATE person SET name = 'Annie' WHERE id = 1;
UPDATE person SET tags = '[3]' WHERE id = 2;
