INSERT INTO parcel VALUES ('A', 1, 10), ('A', 2, 20), ('B', 1, 30), ('C', 1, 40);
