CREATE TABLE person (id INT PRIMARY KEY, first VARCHAR(9), last VARCHAR(9), n INT);
CREATE TABLE omitted (id INT PRIMARY KEY, first VARCHAR(9), last VARCHAR(9), n INT);
CREATE TABLE line (owner INT, line INT, item VARCHAR(9), PRIMARY KEY (owner, line));
