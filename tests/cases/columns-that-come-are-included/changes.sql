UPDATE a SET n = 10 WHERE id = 1;
ALTER TABLE a ADD COLUMN late VARCHAR(10) AFTER id;
UPDATE a SET late = 'x' WHERE id = 1;
UPDATE a SET n = 20, late = '' WHERE id = 2;
INSERT INTO a VALUES (3, 'z', 300);
