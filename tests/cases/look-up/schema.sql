CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), city VARCHAR(20));
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10));
