REPLACE INTO slot VALUES (1, 20, 'both', 7);
INSERT INTO slot VALUES (9, 30, 'x', 8) ON DUPLICATE KEY UPDATE place = 31, who = 'moved';
INSERT INTO slot (id, place) VALUES (4, 40);
