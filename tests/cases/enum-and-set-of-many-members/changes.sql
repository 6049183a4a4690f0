UPDATE many SET e = 'm254', s = 's63,s7' WHERE id = 1;
UPDATE many SET e = 'm298' WHERE id = 4;
