"""Views and subqueries as look-ups: as both servers keep a view, and what no look-up can do."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from whimbrel.dms.joins import of_subquery, of_view
from whimbrel.dms.read import load_rules
from whimbrel.errors import ProjectError
from whimbrel.migration.dms_rules import translated_rules
from whimbrel.records import Column, Table

ORDERS = Table("shop", "orders", tuple(Column(n, "int") for n in ("id", "customer_id", "status", "note")), ("id",))
CUSTOMER = Table("shop", "customer", tuple(Column(n, "int") for n in ("id", "name", "city")), ("id",))
PRICE = Table("shop", "price", tuple(Column(n, "int") for n in ("region", "product", "cents")), ("region", "product"))
TABLES = {table.name: table for table in (ORDERS, CUSTOMER, PRICE)}
VIEW = "CREATE ALGORITHM=UNDEFINED DEFINER=`admin`@`%` SQL SECURITY DEFINER VIEW `v` AS "
SELECT = "select `o`.`id` AS `id`,`o`.`status` AS `state`,`c`.`name` AS `customer_name` from "
SCHEMA = """
CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), city VARCHAR(20));
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10), note VARCHAR(10));
CREATE VIEW with_customer AS SELECT o.id, o.customer_id, o.status AS state, c.name AS customer_name
FROM orders o LEFT JOIN customer c ON c.id = o.customer_id;
CREATE VIEW of_known AS SELECT orders.*, city FROM customer, orders WHERE customer.id = customer_id;
CREATE VIEW counted AS SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id
"""


def made(definition: str) -> dict[str, object]:
    lines = of_view(VIEW + definition, "shop", lambda schema, name: TABLES[name])
    return tomllib.loads(
        lines.replace(", lookup = ", "\nlookup = ").replace(", exclude", "\nexclude").replace(", rename", "\nrename")
    )


@pytest.mark.parametrize(
    "joined",
    [
        "(`shop`.`orders` `o` left join `shop`.`customer` `c` on((`c`.`id` = `o`.`customer_id`)))",
        "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`o`.`customer_id` = `c`.`id`))",
    ],
)
def test_a_left_join_gives_null_where_nothing_is_found(joined: str) -> None:
    assert made(SELECT + joined) == {
        "source": "shop.orders",
        "lookup": {"name": "shop.customer.name", "by": "customer_id", "as": "customer_name"},
        "exclude": ["customer_id", "note"],
        "rename": {"status": "state"},
    }


@pytest.mark.parametrize(
    "joined",
    [
        "(`shop`.`orders` `o` join `shop`.`customer` `c` on((`c`.`id` = `o`.`customer_id`)))",
        "(`shop`.`customer` `c` join `shop`.`orders` `o` on((`c`.`id` = `o`.`customer_id`)))",
        "(`shop`.`customer` `c` join `shop`.`orders` `o`) where (`c`.`id` = `o`.`customer_id`)",
        "(`customer` `c` join `orders` `o`) where `c`.`id` = `o`.`customer_id`",
    ],
)
def test_an_inner_join_leaves_rows_out(joined: str) -> None:
    """From whichever side it is written: the table that is looked up is the one whose primary key is meant."""
    assert made(SELECT + joined)["lookup"] == {
        "name": "shop.customer.name", "by": "customer_id", "as": "customer_name", "orphans": "omit",
    }  # fmt: skip


def test_a_table_that_only_says_which_rows_there_are() -> None:
    joined = "(`shop`.`orders` join `shop`.`customer` on(`orders`.`customer_id` = `customer`.`id`))"
    assert made(f"select `orders`.`id` AS `id` from {joined}") == {
        "source": "shop.orders",
        "lookup": {"name": "shop.customer.id", "by": "customer_id", "as": "customer_is_there", "orphans": "omit"},
        "exclude": ["customer_id", "status", "note", "customer_is_there"],
    }


def test_a_name_that_a_column_of_the_table_has() -> None:
    joined = "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`o`.`customer_id` = `c`.`id`))"
    assert made(f"select `o`.`id` AS `id`,`c`.`name` AS `note` from {joined}") == {
        "source": "shop.orders",
        "lookup": {"name": "shop.customer.name", "by": "customer_id", "as": "customer_name_looked_up"},
        "exclude": ["customer_id", "status", "note"],
        "rename": {"customer_name_looked_up": "note"},
    }


def test_a_key_of_two_columns_and_two_tables() -> None:
    view = (
        "select `o`.`id` AS `id`,`p`.`cents` AS `cents`,`c`.`city` AS `city` from ((`shop`.`orders` `o` left join "
        "`shop`.`price` `p` on(`o`.`status` = `p`.`product` and `p`.`region` = `o`.`note`)) left join "
        "`shop`.`customer` `c` on(`c`.`id` = `o`.`customer_id`))"
    )
    assert made(view)["lookup"] == [
        {"name": "shop.price.cents", "by": ["note", "status"], "as": "cents"},
        {"name": "shop.customer.city", "by": "customer_id", "as": "city"},
    ]


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "select count(0) AS `n` from `shop`.`orders` `o`",
        "select distinct `o`.`id` AS `id` from `shop`.`orders` `o`",
        SELECT + "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`c`.`name` = `o`.`customer_id`))",
        SELECT + "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`c`.`id` = `o`.`note` and `c`.`id` = 3))",
        SELECT + "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`c`.`id` > `o`.`customer_id`))",
        SELECT
        + "(`shop`.`orders` `o` left join `shop`.`customer` `c` on(`c`.`id` = `o`.`id`)) "
        "where `o`.`id` = `o`.`note`",
        SELECT + "(`shop`.`customer` `c` left join `shop`.`orders` `o` on(`c`.`id` = `o`.`customer_id`))",
        SELECT + "(`shop`.`orders` `o` join `shop`.`customer` `c`)",
        SELECT + "`shop`.`orders` `o` union " + SELECT + "`shop`.`orders` `o`",
        SELECT + "`shop`.`unknown` `o`",
    ],
)  # fmt: skip
def test_what_no_look_up_does(definition: str) -> None:
    assert of_view(VIEW + definition, "shop", lambda schema, name: TABLES[name]) == ""


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT name FROM customer WHERE id = $customer_id)",
        " ( select c.name from shop.customer as c where c.id = ${customer_id} LIMIT 1 ) ",
    ],
)
def test_a_subquery_by_a_key(expression: str) -> None:
    assert tomllib.loads(of_subquery(expression, "shop", "who"))["lookup"] == {
        "name": "shop.customer.name", "by": "customer_id", "key": ["id"], "as": "who",
    }  # fmt: skip


@pytest.mark.parametrize(
    "expression", ["upper($a)", "(SELECT max(x) FROM t WHERE a = $b)", "(SELECT a FROM t WHERE b > $c)"]
)
def test_other_expressions(expression: str) -> None:
    assert of_subquery(expression, "shop", "who") == ""


RULES = """{"rules": [
 {"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
  "object-locator": {"schema-name": "%s", "table-name": "%%", "table-type": "all"}}]}"""


def faults(server: SqlServer, folder: Path, *, may_see: bool) -> str:
    database = server.new_database()
    server.execute(*SCHEMA.strip().split(";\n"), database=database)
    if may_see:
        server.execute(f"GRANT SHOW VIEW ON {database}.* TO '{server.user}'@'%'")
    path = folder / "rules.json"
    path.write_text(RULES % database.replace("_", "[_]"))
    with pytest.raises(ProjectError) as caught:
        translated_rules(load_rules(path), server.source(database))
    return caught.value.message.replace(database, "db")


def test_views_of_mariadb(mariadb: MariaDB, tmp_path: Path) -> None:
    check(faults(mariadb, tmp_path, may_see=True))
    assert faults(mariadb, tmp_path, may_see=False).count("With the right SHOW VIEW this would say") == 3


@pytest.mark.slow
def test_views_of_mysql(mysql: MySQL, tmp_path: Path) -> None:
    check(faults(mysql, tmp_path, may_see=True))


def check(said: str) -> None:
    lookup = 'lookup = { name = "db.customer.%s", by = "customer_id", as = "%s"'
    left = next(line for line in said.splitlines() if "db.with_customer is a view" in line)
    assert 'source = "db.orders", ' + lookup % ("name", "customer_name") + " }" in left
    assert 'exclude = ["note"], rename = { status = "state" }' in left
    inner = next(line for line in said.splitlines() if "db.of_known is a view" in line)
    assert lookup % ("city", "city") + ', orphans = "omit" }' in inner
    assert next(line for line in said.splitlines() if "db.counted is a view" in line).endswith("select tables only")
