INSERT INTO Person_tab VALUES (1, 'Ann', 'Ask', 's', 30, '555 12'), (2, 'Bob', NULL, NULL, NULL, NULL);
