UPDATE event SET kind = 'alert' WHERE id = 2;
UPDATE event SET kind = 'log', body = 'A' WHERE id = 1;
UPDATE event SET kind = 'trace' WHERE id = 3;
INSERT INTO event VALUES (5, 'alert', 'e');
DELETE FROM event WHERE id = 4;
