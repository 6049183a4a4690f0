INSERT INTO post VALUES (1, 'ann', 'One'), (2, 'ann', 'Two'), (3, 'bob', 'Three');
INSERT INTO comment VALUES (1, 1, 'ann', 'a'), (1, 2, 'ann', 'b'), (3, 1, 'bob', 'c'), (9, 1, 'eve', 'early');
INSERT INTO liked VALUES (1, 'kim', 'ann', '2026-01-01'), (2, 'kim', 'ann', NULL);
