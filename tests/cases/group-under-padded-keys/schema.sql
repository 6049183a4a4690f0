CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(20), PRIMARY KEY (order_id, line_no));
