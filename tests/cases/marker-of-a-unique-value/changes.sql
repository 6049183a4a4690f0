UPDATE account SET email = 'ann@example.org' WHERE id = 1;
UPDATE account SET email = 'robert@example.org' WHERE id = 2;
INSERT INTO account VALUES (3, 'bob@example.org', 'Bob II');
DELETE FROM account WHERE id = 2;
