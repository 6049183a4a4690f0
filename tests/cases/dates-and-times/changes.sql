UPDATE t SET d = '1000-01-01', y = 0, dt6 = '2026-10-25 02:30:00.5' WHERE id = 2;
SET time_zone = '+05:30';
UPDATE t SET ts0 = '2026-01-01 05:30:00', ts6 = '2026-01-01 00:00:00.25' WHERE id = 2;
