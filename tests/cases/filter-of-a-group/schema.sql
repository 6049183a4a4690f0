CREATE TABLE line (cart INT, no INT, n INT, PRIMARY KEY (cart, no));
