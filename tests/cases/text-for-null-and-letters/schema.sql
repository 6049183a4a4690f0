CREATE TABLE customer (id INT PRIMARY KEY, country CHAR(2), email VARCHAR(40) NOT NULL, phone VARCHAR(20));
