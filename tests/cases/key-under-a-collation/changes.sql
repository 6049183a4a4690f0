UPDATE user SET login = 'ANN' WHERE login = 'ann';
UPDATE user SET login = 'zoe' WHERE login = 'zoe';
UPDATE user SET n = 20 WHERE login = 'BOB';
