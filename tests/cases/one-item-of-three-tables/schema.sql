CREATE TABLE orders (id INT PRIMARY KEY, status VARCHAR(10), note VARCHAR(10));
CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(10), PRIMARY KEY (order_id, line_no));
CREATE TABLE tag (order_id INT, tag VARCHAR(10), PRIMARY KEY (order_id, tag));
