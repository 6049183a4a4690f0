SET sql_mode = '';
UPDATE e SET e = 'zzz', many = 'm8' WHERE id = 2;
