UPDATE visit SET day = '2026-01-03' WHERE seq = 10;
INSERT INTO visit VALUES (1, '2026-01-03', 9, 'd'), (1, '2026-01-03', 11, 'e');
UPDATE visit SET person = 1 WHERE person = 2;
