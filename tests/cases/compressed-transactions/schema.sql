-- only mysql: they are its own
CREATE TABLE page (id INT PRIMARY KEY, body TEXT);
