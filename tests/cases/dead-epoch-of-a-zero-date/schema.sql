SET sql_mode = '';
CREATE TABLE z (id INT PRIMARY KEY, d DATE, n INT);
