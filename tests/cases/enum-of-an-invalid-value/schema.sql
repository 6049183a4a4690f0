CREATE TABLE e (id INT PRIMARY KEY, e ENUM('a', 'b') NOT NULL, many SET('m1','m2','m3','m4','m5','m6','m7','m8','m9'));
