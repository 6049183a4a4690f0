CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL, placed DATE);
CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(20), quantity INT, PRIMARY KEY (order_id, line_no));
