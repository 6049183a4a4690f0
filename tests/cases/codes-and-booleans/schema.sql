CREATE TABLE member (id INT PRIMARY KEY, status ENUM('new','paid','gone') NOT NULL, active CHAR(1), level TINYINT NOT NULL, seen DATETIME(3));
