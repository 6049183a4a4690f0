UPDATE city SET name = 'Røros', people = people + 1 WHERE id = 3;
DELETE FROM city WHERE id = 2;
INSERT INTO city VALUES (5, 'Bodø', 53000);
UPDATE city SET people = people WHERE id = 1;
