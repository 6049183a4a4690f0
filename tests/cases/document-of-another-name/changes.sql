UPDATE doc SET body = NULL WHERE a = 2;
UPDATE doc SET b = 'z', n = 2 WHERE b = 'y';
DELETE FROM doc WHERE a = 1 AND b = 'x';
