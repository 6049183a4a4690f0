"""check and preview of tables that look columns up, on real servers: what one change of the other table writes."""

from __future__ import annotations

import pytest

from tests.checks.case import Case

TABLES = (
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(20) NOT NULL)",
    "CREATE TABLE t (id INT PRIMARY KEY, customer_id INT, status VARCHAR(10), INDEX (customer_id))",
    "INSERT INTO customer VALUES (1, 'Ann', 'a'), (2, '', 'b')",
    "INSERT INTO t VALUES (1, 1, 'new'), (2, 1, ''), (3, 2, 'new'), (4, NULL, NULL), (5, 9, 'x')",
)
MAPPING = """
shape = "record"
partition_key = {{ name = "pk", value = "{key}" }}
lookup = {{ name = "customer.{column}", by = "customer_id", as = "name", orphans = "{orphans}"{more} }}
[[table]]
source = "customer"
target = "{target}.customers"
shape = "record"
partition_key = {{ name = "id", type = "N" }}
"""


def look_up(case: Case, key: str = "${id}", *, column: str = "name", orphans: str = "null", more: str = "") -> None:
    mapping = MAPPING.format(key=key, column=column, orphans=orphans, more=more, target=case.target)
    case.project(mapping)


@pytest.mark.parametrize("orphans", ["null", "omit", "dead"])
@pytest.mark.parametrize("key", ["${id}", "${name:-none}#${id}"])
def test_check_says_what_a_look_up_costs(on_mariadb: Case, key: str, orphans: str) -> None:
    on_mariadb.execute(*TABLES)
    look_up(on_mariadb, key, orphans=orphans)
    found = on_mariadb.check()
    [cost] = found["looks-up"]
    assert "one change there writes up to 2 items here" in cost["reason"]
    refused = [each["reason"] for each in found.get("row-refused", [])]
    assert len(refused) == (orphans == "dead")


@pytest.mark.parametrize("key", ["${id}", "${name:-none}#${id}"])
def test_the_recent_writes_of_a_table_that_looks_up_are_read(on_mariadb: Case, key: str) -> None:
    """The binlog has its own columns alone."""
    on_mariadb.execute(*TABLES, "UPDATE t SET status = 'paid' WHERE id < 4")
    look_up(on_mariadb, key)
    on_mariadb.check()
    writes, cost = on_mariadb.report["recent_writes"], on_mariadb.report["cost"]["following"]
    assert not writes["ended"]
    assert writes["changes"] == {f"{on_mariadb.database}.t": 8, f"{on_mariadb.database}.customer": 2}
    assert cost["writes"] == pytest.approx(cost["changes"])


def test_a_key_that_tells_no_row_is_refused(on_mariadb: Case) -> None:
    on_mariadb.execute(*TABLES, "ALTER TABLE customer ADD COLUMN other INT")
    look_up(on_mariadb, more=', key = ["other"]')
    [fault] = on_mariadb.check()["mapping"]
    assert "which is not a unique key without NULLs" in fault["reason"]


ENGINES = {
    'load.engine = "import"': '[load]\nengine = "import"\n[snapshot]\nstore = "s3://bucket/shop"\n',
    'load.engine = "spark"': '[load]\nengine = "spark"\n',
    'apply.engine = "lambda"': '[log]\nengine = "kinesis"\nstream = "s"\n[apply]\nengine = "lambda"\n',
}


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_that_have_the_row_alone_are_refused_by_name(on_mariadb: Case, engine: str) -> None:
    on_mariadb.execute(*TABLES)
    mapping = MAPPING.format(key="${id}", column="name", orphans="null", more="", target=on_mariadb.target)
    on_mariadb.project(mapping, target=ENGINES[engine])
    said = " ".join(on_mariadb.call("migrate", "--dry-run").output.split())
    assert f"looks columns up, which {engine} cannot: it has the row alone" in said
    assert "or leave the look-ups out" in said


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_that_cannot_end_a_run_at_an_item_are_refused_by_name(on_mariadb: Case, engine: str) -> None:
    on_mariadb.execute(*TABLES)
    key = '{ name = "id", type = "N" }'
    mapping = f'shape = "record"\npartition_key = {key}\noversize = "stop"\n'
    on_mariadb.project(mapping, target=ENGINES[engine])
    said = " ".join(on_mariadb.call("migrate", "--dry-run").output.split())
    assert f'has oversize = "stop", and {engine} cannot end the run at an item' in said
