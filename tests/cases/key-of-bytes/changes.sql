UPDATE object SET size = 20 WHERE id = x'01020000' AND part = x'FF';
UPDATE object SET id = x'62000000' WHERE id = x'61000000';
DELETE FROM object WHERE id = x'00000000';
