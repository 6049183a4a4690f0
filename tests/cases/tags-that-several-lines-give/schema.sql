CREATE TABLE line (order_id INT, line_no INT, tag VARCHAR(10), rating INT, PRIMARY KEY (order_id, line_no));
