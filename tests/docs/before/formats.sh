sql "CREATE TABLE purchase (customer INT NOT NULL, orderid INT NOT NULL, product VARCHAR(20) NOT NULL, quantity INT NOT NULL, PRIMARY KEY (orderid, product)); INSERT INTO purchase VALUES (7, 1, 'tea', 2), (7, 1, 'cup', 1), (9, 3, '', 1)"
whimbrel init "$SOURCE" --endpoint "$TARGET"
python - <<'END'
from pathlib import Path

file = Path("whimbrel.toml")
head = file.read_text().partition("[[table]]")[0]
file.write_text(head + '''[[table]]
source = "shop.purchase"
target = "purchase"
shape = "group"
partition_key = { name = "customer", type = "N" }
sort_key = { name = "orderid", type = "N" }
entry = { name = "${product}", value = "quantity" }
''')
END
whimbrel migrate --until-caught-up || true
sql "UPDATE purchase SET quantity = 3 WHERE orderid = 1 AND product = 'tea'"
whimbrel capture --until-caught-up || true
