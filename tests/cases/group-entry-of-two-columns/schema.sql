CREATE TABLE price (sku VARCHAR(10), country CHAR(2), year YEAR, cents INT, PRIMARY KEY (sku, country, year));
