INSERT INTO tag VALUES (2, 'new'), (4, 'alone');
UPDATE tag SET tag = 'b' WHERE tag = 'B';
DELETE FROM tag WHERE post = 3;
UPDATE tag SET post = 5 WHERE post = 2 AND tag = 'a';
