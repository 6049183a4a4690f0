whimbrel init "$SOURCE"
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

[cutover]
reverse_user = "way_back"
lease_seconds = 0.5
write_seconds = 0.5
late_seconds = 0.5
max_stall = 20
''')
END
