INSERT INTO item SELECT 10 * a.n + b.n, IF(b.n % 2, 'odd', 'even'), b.n + 0.5
  FROM (SELECT 0 n UNION SELECT 1) a, (SELECT 1 n UNION SELECT 2 UNION SELECT 3) b;
INSERT INTO kind VALUES ('odd', 10), ('even', 100);
