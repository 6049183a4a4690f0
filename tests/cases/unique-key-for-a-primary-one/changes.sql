UPDATE asset SET owner = 'cy' WHERE serial = 's2';
UPDATE asset SET serial = 's30', owner = 'di' WHERE serial = 's3';
DELETE FROM asset WHERE owner = 'ann';
