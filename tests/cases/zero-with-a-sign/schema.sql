-- only mysql
CREATE TABLE level (height DOUBLE PRIMARY KEY, low FLOAT NOT NULL, name VARCHAR(10));
