UPDATE reading SET note = 'gust', wind = 30.5 WHERE station = 1 AND hour = 1;
UPDATE reading SET hour = 5 WHERE station = 2;
INSERT INTO reading VALUES (2, 0, NULL, NULL, NULL);
