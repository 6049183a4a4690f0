CREATE TABLE orders (id INT PRIMARY KEY, buyer INT NOT NULL);
CREATE TABLE line (order_id INT, buyer INT NOT NULL, n INT, PRIMARY KEY (order_id, n));
