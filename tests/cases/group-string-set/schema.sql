CREATE TABLE tag (post INT, tag VARCHAR(10), PRIMARY KEY (post, tag)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
