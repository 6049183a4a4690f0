EDITOR=edited
edited() {
  python - "$1" <<'END'
import sys
from pathlib import Path

file = Path(sys.argv[1])
head = file.read_text().partition("[[table]]")[0]
file.write_text(head + '''
[[table]]
source = "shop.purchase"
target = "purchase"
shape = "group"
partition_key = { name = "customerid" }
sort_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }

[cutover]
reverse_user = "way_back"
lease_seconds = 0.5
write_seconds = 0.5
late_seconds = 0.5

[[dataset]]
table = "bank"

[[model]]
name = "subscribes"
dataset = "bank"
target = "y"
exclude = ["customer_id", "duration"]

[[endpoint]]
name = "ServiceEndpoint"
model = "subscribes"
wait = 0
bake = 0

[[renewal]]
model = "subscribes"
endpoint = "ServiceEndpoint"

[serve]
port = 8080
''')
END
}
sql "CREATE TABLE purchase (customerid VARCHAR(20), orderid VARCHAR(20), productid VARCHAR(20), quantity INT NOT NULL, PRIMARY KEY (customerid, orderid, productid)); INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1), ('c1', 'o1', 'p2', 2)"
whimbrel() {
  [ "$1" = init ] && set -- "$@" --endpoint "$TARGET"
  command whimbrel "$@"
}
python -m demo.bank --endpoint "$TARGET" --table bank --rows 3000
