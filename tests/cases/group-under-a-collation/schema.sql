CREATE TABLE mail (box VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, id INT, subject VARCHAR(10), PRIMARY KEY (box, id));
