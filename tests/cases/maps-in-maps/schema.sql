CREATE TABLE post (id INT PRIMARY KEY, author VARCHAR(10) NOT NULL, title VARCHAR(20));
CREATE TABLE comment (post INT, n INT, author VARCHAR(10) NOT NULL, body VARCHAR(20), PRIMARY KEY (post, n));
CREATE TABLE liked (post INT, who VARCHAR(10), author VARCHAR(10) NOT NULL, at DATE, PRIMARY KEY (post, who));
