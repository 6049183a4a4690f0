CREATE TABLE answer (form INT, question VARCHAR(10), text VARCHAR(20), raw VARBINARY(4), PRIMARY KEY (form, question));
