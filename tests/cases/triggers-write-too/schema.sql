CREATE TABLE line (id INT PRIMARY KEY, order_id INT, cents INT);
CREATE TABLE total (order_id INT PRIMARY KEY, cents INT, touched INT DEFAULT 0);
CREATE TRIGGER stamp BEFORE INSERT ON line FOR EACH ROW SET NEW.cents = COALESCE(NEW.cents, 7);
CREATE TRIGGER added AFTER INSERT ON line FOR EACH ROW BEGIN
  INSERT INTO total VALUES (NEW.order_id, NEW.cents, 1) ON DUPLICATE KEY UPDATE cents = total.cents + NEW.cents, touched = touched + 1;
END;
CREATE TRIGGER removed AFTER DELETE ON line FOR EACH ROW UPDATE total SET cents = cents - OLD.cents WHERE order_id = OLD.order_id;
