CREATE TABLE orders (id INT PRIMARY KEY, coupon VARCHAR(10), note VARCHAR(20));
CREATE TABLE line (order_id INT, n INT, product VARCHAR(10), gift VARCHAR(10), PRIMARY KEY (order_id, n));
