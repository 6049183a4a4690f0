INSERT INTO b VALUES (1, x'616200', x'00', x'616200', x'01'), (2, x'', x'20', x'2020', NULL), (3, x'00000000ff00', x'ff', x'00', x'');
