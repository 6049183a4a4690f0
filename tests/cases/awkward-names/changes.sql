UPDATE `my table` SET `a b` = 10, `größe` = NULL, `back``tick` = 80 WHERE `order` = 1;
