SET sql_mode = '';
INSERT INTO z VALUES (1, '0000-00-00', 1), (2, '2026-01-01', 2);
