CREATE TABLE `my table` (`order` INT PRIMARY KEY, `a b` INT, `a.b` INT, `a-b#c` INT, `größe` INT, `it's` INT, `say "hi"` INT, `:x` INT, `back``tick` INT);
