UPDATE purchase SET orderid = 'o4', quantity = 20 WHERE productid = 'p2';
DELETE FROM purchase WHERE customerid = 'c2';
INSERT INTO purchase VALUES ('c3', 'o1', 'p1', 7);
