INSERT INTO account VALUES (1, 100), (2, 200), (3, 300);
