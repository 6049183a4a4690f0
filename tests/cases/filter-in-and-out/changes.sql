UPDATE ad SET state = 'closed' WHERE id = 1;
UPDATE ad SET state = 'open' WHERE id = 2;
UPDATE ad SET bids = 7 WHERE id = 3;
UPDATE ad SET id = 50, state = 'gone' WHERE id = 5;
UPDATE ad SET id = 40, state = 'open' WHERE id = 4;
INSERT INTO ad VALUES (6, 'closed', 1), (7, 'open', 1);
DELETE FROM ad WHERE id IN (6, 7);
