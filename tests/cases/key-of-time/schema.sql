CREATE TABLE event (device INT, at DATETIME(6), what VARCHAR(10), PRIMARY KEY (device, at));
