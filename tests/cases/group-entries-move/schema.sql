CREATE TABLE parcel (truck VARCHAR(4), slot INT, weight INT, PRIMARY KEY (truck, slot));
