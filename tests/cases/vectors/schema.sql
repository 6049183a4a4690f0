-- only mysql: 9 has them
CREATE TABLE v (id INT PRIMARY KEY, v VECTOR(3));
