CREATE TABLE orders (id INT PRIMARY KEY, status VARCHAR(10));
CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(10), placed DATE NOT NULL, PRIMARY KEY (order_id, line_no));
