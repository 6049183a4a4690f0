-- only mysql: each server has a text of its own
CREATE TABLE j (id INT PRIMARY KEY, j JSON);
