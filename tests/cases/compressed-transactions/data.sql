SET SESSION binlog_transaction_compression = ON;
BEGIN;
INSERT INTO page VALUES (1, REPEAT('a', 100)), (2, 'two');
INSERT INTO page VALUES (3, 'three');
COMMIT;
