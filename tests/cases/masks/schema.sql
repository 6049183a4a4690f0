CREATE TABLE card (id INT PRIMARY KEY, number VARCHAR(20), holder VARCHAR(20), pin INT, amount DECIMAL(8,2));
