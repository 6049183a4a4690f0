UPDATE cell SET z = 'd' WHERE v = 5;
UPDATE cell SET v = 10 WHERE v = 1;
DELETE FROM cell WHERE v = 3;
