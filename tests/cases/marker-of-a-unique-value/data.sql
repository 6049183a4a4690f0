INSERT INTO account VALUES (1, 'Ann@example.org', 'Ann'), (2, 'bob@example.org', 'Bob');
