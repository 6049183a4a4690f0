CREATE TABLE orders (id INT PRIMARY KEY, buyer INT, status VARCHAR(9));
CREATE TABLE line (order_id INT, n INT, PRIMARY KEY (order_id, n));
