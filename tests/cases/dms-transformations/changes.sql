UPDATE Person_tab SET secret = 't', x_age = 41, phone = '1-2' WHERE Id = 2;
UPDATE Person_tab SET `last` = NULL WHERE Id = 1;
