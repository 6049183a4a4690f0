CREATE TABLE orders (customer INT, id INT, status VARCHAR(8), placed DATETIME, total DECIMAL(8,2), PRIMARY KEY (customer, id));
