SET SESSION binlog_transaction_compression = ON;
UPDATE page SET body = 'TWO' WHERE id = 2;
BEGIN;
UPDATE page SET id = 30 WHERE id = 3;
DELETE FROM page WHERE id = 1;
INSERT INTO page VALUES (4, 'four');
COMMIT;
