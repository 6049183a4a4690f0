CREATE TABLE product (sku VARCHAR(8) PRIMARY KEY, name VARCHAR(20), shelf INT);
CREATE TABLE line (order_id INT, n INT, sku VARCHAR(8), PRIMARY KEY (order_id, n));
