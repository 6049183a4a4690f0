CREATE TABLE setting (user_id INT, name VARCHAR(20), value TEXT, PRIMARY KEY (user_id, name));
