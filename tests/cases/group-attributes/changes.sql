INSERT INTO purchase VALUES ('c1', 'o1', 'p3', 30), ('c3', 'o9', 'p1', 90);
UPDATE purchase SET quantity = 0 WHERE productid = 'p2';
DELETE FROM purchase WHERE orderid = 'o1' AND productid = 'p1';
DELETE FROM purchase WHERE orderid = 'o2';
