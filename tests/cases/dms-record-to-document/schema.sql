CREATE TABLE customer (id INT PRIMARY KEY, first VARCHAR(10), last VARCHAR(10), phone VARCHAR(12), born DATE, score DECIMAL(5,2), ok BIT(1));
