sql "INSERT INTO purchase VALUES (9, 3, '', 1)"
whimbrel migrate --until-caught-up || true
sql "UPDATE purchase SET quantity = 3 WHERE orderid = 1 AND product = 'tea'"
whimbrel capture --until-caught-up || true
