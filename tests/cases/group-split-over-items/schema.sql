CREATE TABLE line (order_id INT, line_no INT, product VARCHAR(10), PRIMARY KEY (order_id, line_no));
CREATE TABLE label (doc VARCHAR(10), label VARCHAR(20), weight INT, PRIMARY KEY (label, doc));
