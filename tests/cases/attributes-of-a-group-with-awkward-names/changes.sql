UPDATE kv SET v = v + 100 WHERE k IN ('a.b', '#x', ':y', 'name', '[0]');
DELETE FROM kv WHERE k = '😀';
UPDATE kv SET k = 'size' WHERE k = ' ';
