UPDATE session SET ends = '2027-01-01' WHERE id = 2;
UPDATE session SET ends = NULL WHERE id = 1;
UPDATE grant_of SET until_s = until_s + 60 WHERE right_name = 'read';
