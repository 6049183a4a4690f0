INSERT INTO rate (since, until, cents) VALUES ('2026-01-01', '2026-12-31', 10), ('2026-01-01', '2026-02-01', 20);
