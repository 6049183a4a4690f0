CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20));
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL, total DECIMAL(8,2));
CREATE TABLE address (customer_id INT, kind ENUM('home', 'work'), street VARCHAR(20), PRIMARY KEY (customer_id, kind));
