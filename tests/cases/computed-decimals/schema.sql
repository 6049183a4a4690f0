CREATE TABLE line (id INT PRIMARY KEY, price DECIMAL(30,10), quantity INT, rate DECIMAL(3,2));
