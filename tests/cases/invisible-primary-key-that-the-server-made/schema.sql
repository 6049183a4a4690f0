-- only mysql: it makes one where it is told to
SET sql_generate_invisible_primary_key = ON;
CREATE TABLE log (what VARCHAR(10), n INT);
