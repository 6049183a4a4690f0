INSERT INTO product VALUES (1, '{"name": "pen", "tags": ["a", "b"], "size": {"w": 1.5}}'), (2, '{}'), (3, NULL);
