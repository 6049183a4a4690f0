CREATE TABLE step (recipe INT, no INT, text VARCHAR(30), minutes INT, PRIMARY KEY (recipe, no));
