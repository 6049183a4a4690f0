-- times: 40000
SELECT * FROM film WHERE id = 1;
-- times: 20000
SELECT f.* FROM film f JOIN plays p ON p.film = f.id WHERE p.actor = 3;
-- times: 9000
SELECT * FROM plays WHERE film = 1;
-- times: 8000
SELECT * FROM rental WHERE customer = 1 ORDER BY at DESC LIMIT 5;
-- times: 2000
INSERT INTO rental (customer, film, at) VALUES (1, 1, NOW());
-- times: 2000
UPDATE rental SET back = NOW() WHERE id = 1;
-- times: 5000
SELECT * FROM film_text WHERE id = 1;
-- times: 900
SELECT * FROM shop WHERE id = 1;
-- times: 30
SELECT * FROM film WHERE rating = 'G' ORDER BY title LIMIT 20;
