UPDATE event SET at = '2026-01-01 00:00:00.1' WHERE device = 2;
UPDATE event SET what = 'OFF' WHERE what = 'off';
