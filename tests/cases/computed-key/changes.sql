UPDATE account SET email = 'ann@x.org' WHERE id = 1;
UPDATE account SET email = 'Bobby@x.org' WHERE id = 2;
UPDATE account SET tenant = 14 WHERE id = 3;
