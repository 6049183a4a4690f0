UPDATE purchase SET quantity = 20 WHERE productid = 'p2';
UPDATE purchase SET orderid = 'o4' WHERE customerid = 'c1' AND orderid = 'o2';
UPDATE purchase SET productid = 'p8', quantity = 5 WHERE customerid = 'c2';
INSERT INTO purchase VALUES ('c1', 'o2', 'p1', 6);
DELETE FROM purchase WHERE orderid = 'o1' AND productid = 'p1';
