CREATE TABLE visit (person INT, day DATE, seq SMALLINT UNSIGNED, place VARCHAR(20), PRIMARY KEY (person, day, seq));
