INSERT INTO n (id) VALUES (1), (2);
INSERT INTO n VALUES (3, 0, 0, '', '', 'null', '2026-01-01', 'a', '', 0, 0);
