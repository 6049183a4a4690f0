CREATE TABLE e (id INT PRIMARY KEY, e ENUM('small', 'Large', 'x,y', ''), s SET('a', 'b', 'c d', '0'), ss SET('r', 'g', 'b'), n ENUM('10', '20'));
