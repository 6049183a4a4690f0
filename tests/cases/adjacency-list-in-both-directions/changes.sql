UPDATE follow SET since = '2026-02-01' WHERE follower = 'ann';
UPDATE follow SET followed = 'ann' WHERE follower = 'eve';
DELETE FROM follow WHERE follower = 'bob';
INSERT INTO follow VALUES ('bob', 'eve', '2026-03-01');
