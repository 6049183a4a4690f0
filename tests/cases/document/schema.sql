CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20), score DOUBLE, joined DATE);
