CREATE TABLE reading (station INT, hour TINYINT, celsius DECIMAL(4,1), wind FLOAT, note VARCHAR(20), PRIMARY KEY (station, hour));
