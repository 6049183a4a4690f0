-- only mariadb: MySQL has no periods and sequences
CREATE SEQUENCE number START WITH 100;
CREATE TABLE rate (id INT DEFAULT NEXTVAL(number), since DATE, until DATE, cents INT, PERIOD FOR valid (since, until), PRIMARY KEY (id, since));
