INSERT INTO account VALUES (1, 'Ann@X.org', 1), (2, 'BOB@x.org', 1), (3, 'cy@y.org', 13);
