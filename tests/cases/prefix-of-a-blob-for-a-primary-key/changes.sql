UPDATE counter SET n = 30, path = '/b/and/much/less' WHERE n = 3;
UPDATE counter SET name = 'dddd' WHERE n = 4;
DELETE FROM counter WHERE n = 1;
