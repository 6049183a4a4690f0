CREATE TABLE tier (floor DECIMAL(10,2), at DECIMAL(38,0), name VARCHAR(10), PRIMARY KEY (floor, at));
