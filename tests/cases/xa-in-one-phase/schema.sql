CREATE TABLE account (id INT PRIMARY KEY, cents INT);
