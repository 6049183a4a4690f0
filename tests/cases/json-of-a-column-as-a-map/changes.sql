UPDATE person SET doc = '{"city": "Köln"}' WHERE id = 1;
UPDATE person SET tags = '[]' WHERE id = 2;
INSERT INTO person VALUES (4, 'Kim', '{}', '[{"x": null}]');
