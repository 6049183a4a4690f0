CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(20), quantity INT, price DECIMAL(10,2), PRIMARY KEY (order_id, line_no));
