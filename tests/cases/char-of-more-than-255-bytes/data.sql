INSERT INTO c VALUES (1, 'é', 'ß', 'ÿ', x'01', 'v', '😀', x'00'), (2, REPEAT('a', 255), REPEAT('b', 255), REPEAT('d', 255), NULL, REPEAT('v', 256), REPEAT('w', 64), REPEAT('x', 256));
