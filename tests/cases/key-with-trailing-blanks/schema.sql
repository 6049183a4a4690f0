CREATE TABLE code (code VARCHAR(10), fixed CHAR(6), n INT, PRIMARY KEY (code, fixed)) CHARACTER SET latin1;
