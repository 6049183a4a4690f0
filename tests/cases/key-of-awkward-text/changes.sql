UPDATE word SET word = '😀😀', n = 20 WHERE word = '😀';
UPDATE word SET n = n * 10 WHERE word IN ('a"b', 'back\\slash', 'line\nbreak', '${n}');
DELETE FROM word WHERE word = 'ünï';
INSERT INTO word VALUES ('tab\tnul\0end', 8), ('日本', 9);
