CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR(20), status ENUM('new','paid') NOT NULL);
CREATE TABLE item (order_id INT, n INT, product VARCHAR(20), PRIMARY KEY (order_id, n));
CREATE TABLE setting (name VARCHAR(20) PRIMARY KEY, value VARCHAR(20));
