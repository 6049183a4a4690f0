UPDATE c SET v = REPEAT('ü', 90) WHERE id = 2;
UPDATE c SET b = REPEAT('z', 70) WHERE id = 3;
