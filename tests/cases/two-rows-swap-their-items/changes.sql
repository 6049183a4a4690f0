BEGIN;
UPDATE runner SET lane = -1 WHERE lane = 1;
UPDATE runner SET lane = 1 WHERE lane = 2;
UPDATE runner SET lane = 2 WHERE lane = -1;
COMMIT;
DELETE FROM runner WHERE lane = 3;
INSERT INTO runner VALUES (3, 4, 'cy'), (4, 3, 'di');
