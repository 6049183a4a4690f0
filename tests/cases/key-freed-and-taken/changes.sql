BEGIN;
DELETE FROM stock WHERE sku = 'a';
INSERT INTO stock (sku, n) VALUES ('a', 10);
COMMIT;
REPLACE INTO stock VALUES ('b', 20, NULL);
INSERT INTO stock VALUES ('c', 1, 'x'), ('d', 4, 'new') ON DUPLICATE KEY UPDATE n = stock.n + 100;
INSERT IGNORE INTO stock VALUES ('d', 5, 'ignored');
