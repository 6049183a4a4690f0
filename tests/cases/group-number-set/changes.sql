UPDATE lot SET number = 2.505 WHERE number = 2.5;
DELETE FROM lot WHERE sale = 1 AND number = 1;
INSERT INTO lot VALUES (2, 0), (3, 100);
