-- only mysql: MariaDB has no such index
CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(20), tags JSON, INDEX ((LOWER(name))), INDEX ((CAST(tags -> '$[*]' AS UNSIGNED ARRAY))));
