INSERT INTO `my table` VALUES (1, 1, 2, 3, 4, 5, 6, 7, 8), (2, 1, 2, 3, 4, 5, 6, 7, 8);
