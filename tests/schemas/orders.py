"""An order system of five tables as item collections of one table: a customer with addresses, an order with its lines
and shipments, products, and an index that goes the other way.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random

from tests.e2e.judge import Expected
from tests.schemas.application import Application, Statements

SCHEMA = """
CREATE TABLE customer (id INT PRIMARY KEY, email VARCHAR(40) NOT NULL, name VARCHAR(20), points INT UNSIGNED DEFAULT 0);
CREATE TABLE orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, state ENUM('new', 'paid', 'sent') NOT NULL,
                     placed DATETIME NOT NULL, KEY (customer));
CREATE TABLE order_line (orders BIGINT, line SMALLINT, product CHAR(6) NOT NULL, quantity INT NOT NULL,
                         price DECIMAL(12,4), PRIMARY KEY (orders, line));
CREATE TABLE product (sku CHAR(6) PRIMARY KEY, name VARCHAR(20) NOT NULL, kilos DOUBLE, gone DATE);
CREATE TABLE shipment (id INT PRIMARY KEY, orders BIGINT NOT NULL, carrier VARCHAR(10), track VARBINARY(8) NOT NULL)
"""

MAPPING = (
    """
source = "customer"
partition_key = { name = "pk", value = "CUSTOMER#${id}" }
sort_key = { name = "sk", value = "PROFILE" }
exclude = ["id"]
columns = { login = "lower(email)" }
attributes = { kind = "customer" }
[[table.index]]
name = "other-way"
partition_key = { name = "sk" }
sort_key = { name = "pk" }
projection = "keys"
[[table.index]]
name = "by-customer"
partition_key = { name = "customer" }
sort_key = { name = "placed", type = "N" }
""",
    """
source = "orders"
partition_key = { name = "pk", value = "ORDER#${id}" }
sort_key = { name = "sk", value = "ORDER" }
exclude = ["id"]
attributes = { kind = "order", customer = "CUSTOMER#${customer_no}" }
columns = { customer_no = "customer" }
rename = { customer_no = "no", customer = "old" }
types = { placed = "EPOCH" }
[[table.index]]
name = "by-customer"
partition_key = { name = "customer" }
sort_key = { name = "placed", type = "N" }
""",
    """
source = "order_line"
partition_key = { name = "pk", value = "ORDER#${orders}" }
sort_key = { name = "sk", value = "LINE#${line}" }
exclude = ["orders", "line"]
attributes = { kind = "line" }
filter = "quantity > 0"
""",
    """
source = "product"
partition_key = { name = "pk", value = "PRODUCT#${sku}" }
sort_key = { name = "sk", value = "PRODUCT" }
nulls = "omit"
exclude = ["sku"]
""",
    """
source = "shipment"
partition_key = { name = "pk", value = "ORDER#${orders}" }
sort_key = { name = "sk", value = "SHIPMENT#${id}" }
exclude = ["orders", "id"]
mask = { carrier = "digits" }
""",
)

ORDERS, PRODUCTS = 40, 8


def step(dice: Random) -> Statements:
    order, other, customer, line = (dice.randrange(many) for many in (ORDERS, ORDERS, 9, 4))
    sku, state = f"'p{dice.randrange(PRODUCTS):05}'", dice.choice(["'new'", "'paid'", "'sent'"])
    placed = f"'2026-02-{dice.randrange(1, 28):02} 0{line}:30:00'"
    many, price = dice.randrange(-1, 5), dice.choice(["NULL", "0.0001", "99999999.9999", "12.5"])
    return dice.choice(
        [
            [f"REPLACE INTO customer VALUES ({customer}, 'User{customer}@X.example', NULL, {order})"],
            [f"UPDATE customer SET points = points + 1, name = 'Name {order}' WHERE id = {customer}"],
            [f"DELETE FROM customer WHERE id = {customer}"],
            [  # an order as it is placed: one transaction over three tables
                f"REPLACE INTO orders VALUES ({order}, {customer}, 'new', {placed})",
                *(f"REPLACE INTO order_line VALUES ({order}, {n}, {sku}, {many + n}, {price})" for n in range(line)),
                f"REPLACE INTO product VALUES ({sku}, 'Name {line}', {dice.choice(['NULL', '0.25', '1e-7'])}, NULL)",
            ],
            [f"UPDATE orders SET state = {state}, customer = {customer} WHERE id = {order}"],
            [f"UPDATE IGNORE orders SET id = {other} WHERE id = {order}"],
            [f"DELETE FROM {table} WHERE {key} = {order}" for table, key in PARTS],
            [f"UPDATE order_line SET quantity = {many} WHERE orders = {order}"],
            [f"UPDATE IGNORE order_line SET line = {line}, price = {price} WHERE orders = {order} LIMIT 1"],
            [f"UPDATE IGNORE order_line SET orders = {other} WHERE orders = {order} AND line >= {line}"],
            [f"UPDATE product SET gone = '2026-12-31', kilos = kilos * 3 WHERE sku = {sku}"],
            [f"REPLACE INTO shipment VALUES ({other}, {order}, 'No {order}', x'{order:02x}00')"],
            [f"UPDATE shipment SET orders = {other}, track = x'ff' WHERE orders = {order}"],
        ]
    )


PARTS = (("orders", "id"), ("order_line", "orders"), ("shipment", "orders"))


def expected(application: Application) -> Expected:
    items: Expected = {}

    def item(pk: str, sk: str, **attributes: object) -> None:
        items[pk, sk] = {"pk": pk, "sk": sk, **attributes}

    for id_, email, name, points in application.rows("SELECT * FROM customer"):
        more = {"email": email, "login": email.lower(), "name": name, "points": points}
        item(f"CUSTOMER#{id_}", "PROFILE", kind="customer", **more)
    for id_, customer, state, placed in application.rows(
        "SELECT id, customer, state, UNIX_TIMESTAMP(placed) FROM orders"
    ):
        more = {"customer": f"CUSTOMER#{customer}", "no": customer, "old": customer}
        item(f"ORDER#{id_}", "ORDER", kind="order", state=state, placed=placed, **more)
    for order, line, product, quantity, price in application.rows("SELECT * FROM order_line WHERE quantity > 0"):
        item(f"ORDER#{order}", f"LINE#{line}", kind="line", product=product, quantity=quantity, price=price)
    for sku, name, kilos, gone in application.rows("SELECT * FROM product"):
        more = {"kilos": kilos and Decimal(repr(kilos)), "gone": gone and str(gone)}
        item(f"PRODUCT#{sku}", "PRODUCT", name=name, **{name: value for name, value in more.items() if value})
    for id_, order, carrier, track in application.rows("SELECT * FROM shipment"):
        masked = "".join("#" if each.isdigit() else each for each in carrier)
        item(f"ORDER#{order}", f"SHIPMENT#{id_}", carrier=masked, track=track)
    return items
