-- times: 80000
SELECT * FROM outbox WHERE ID = 1;
-- times: 80000
SELECT * FROM outbox_multipart WHERE ID = 1 AND SequencePosition = 2;
-- times: 40000
INSERT INTO outbox (DestinationNumber, TextDecoded, CreatorID) VALUES ('n', 't', 'c');
-- times: 40000
DELETE FROM outbox WHERE ID = 1;
-- times: 10000
DELETE FROM outbox_multipart WHERE ID = 1;
-- times: 50000
INSERT INTO sentitems (ID, SequencePosition, CreatorID, SendingDateTime, Text) VALUES (1, 1, 'c', NOW(), 't');
-- times: 20000
SELECT * FROM sentitems WHERE ID = 1;
-- times: 30000
SELECT * FROM outbox o JOIN outbox_multipart m ON m.ID = o.ID WHERE o.ID = 1;
-- times: 9000
INSERT INTO inbox (ReceivingDateTime, Text, SenderNumber, TextDecoded) VALUES (NOW(), 't', 'n', 'd');
-- times: 9000
SELECT * FROM inbox WHERE Processed = 'false' ORDER BY ReceivingDateTime LIMIT 20;
-- times: 9000
UPDATE inbox SET Processed = 'true' WHERE ID = 1;
-- times: 4000
SELECT * FROM inbox WHERE SenderNumber = 'n' ORDER BY ReceivingDateTime DESC LIMIT 10;
-- times: 86400
UPDATE phones SET Battery = 1, `Signal` = 2 WHERE IMEI = 'i';
