UPDATE card SET number = '42 x' WHERE id = 2;
UPDATE card SET pin = 99, amount = -0.01 WHERE id = 1;
