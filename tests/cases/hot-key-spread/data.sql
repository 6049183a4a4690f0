INSERT INTO click VALUES (1, 'home', '2026-01-01'), (2, 'home', '2026-01-02'), (3, 'home', '2026-01-03'), (4, 'Über uns', '2026-01-04');
INSERT INTO post VALUES (1, 'news', 'One'), (2, 'news', 'Two');
INSERT INTO reply VALUES (1, 1, 'news', 'a'), (1, 2, 'news', 'b'), (2, 1, 'news', 'c');
