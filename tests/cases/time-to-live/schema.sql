CREATE TABLE session (id INT PRIMARY KEY, user_id INT NOT NULL, ends DATETIME(3));
CREATE TABLE grant_of (user_id INT, right_name VARCHAR(10), until_s BIGINT, PRIMARY KEY (user_id, right_name));
