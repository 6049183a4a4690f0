CREATE TABLE `Person_tab` (`Id` INT PRIMARY KEY, `FIRST` VARCHAR(10), `last` VARCHAR(10), secret VARCHAR(10), x_age INT, phone VARCHAR(20));
