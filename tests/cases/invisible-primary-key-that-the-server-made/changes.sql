UPDATE log SET n = 2 WHERE what = 'a' LIMIT 1;
DELETE FROM log WHERE what = 'b';
