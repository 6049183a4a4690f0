INSERT INTO customer VALUES (1, 'Ann', 1.5, '2020-02-29'), (2, 'Bob', NULL, NULL), (3, '', 0, '1999-12-31');
