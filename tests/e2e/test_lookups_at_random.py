"""Random statements on both sides of look-ups, by keys of other types and under a collation; the judge is a join in SQL
of the server's own, that shares nothing with what is judged.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

TEXT = "VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
TABLES = (
    f"""CREATE TABLE p (id BIGINT UNSIGNED PRIMARY KEY, code {TEXT} NOT NULL, price DECIMAL(8,2) NOT NULL,
    name VARCHAR(9), UNIQUE (code), UNIQUE (price))""",
    f"CREATE TABLE c (id INT PRIMARY KEY, p_id INT, p_code {TEXT}, p_price DECIMAL(10,2), v INT)",
)
MAPPING = """
partition_key = {{ name = "id", type = "N" }}
[[table]]
source = "c"
target = "{target}"
partition_key = {{ name = "id", type = "N" }}
nulls = "omit"
lookup = [
    {{ name = "p.name", by = "p_id", as = "by_id", orphans = "{orphans}" }},
    {{ name = "p.name", by = "p_code", key = ["code"], as = "by_code" }},
    {{ name = "p.id", by = "p_price", key = ["price"], as = "by_price" }},
]
[[table]]
source = "c"
target = "{target}-placed"
partition_key = {{ name = "pk", value = "N#${{by_id:-none}}" }}
sort_key = {{ name = "id", type = "N" }}
lookup = {{ name = "p.name", by = "p_id", as = "by_id" }}
"""
CODES = ("a", "A", "b", "B ", "ä", "")
PRICES = ("1.00", "1.10", "-2.50", "0.00")


def statement(chance: random.Random) -> str:
    key, other = chance.randrange(1, 5), chance.randrange(1, 5)
    code, price, name = chance.choice(CODES), chance.choice(PRICES), chance.choice(("'x'", "'y'", "NULL"))
    row = f"{chance.randrange(1, 9)}, {chance.choice((key, 'NULL', -1))}, '{code}', {price}, {other}"
    return chance.choice(
        (
            f"REPLACE INTO p VALUES ({key}, '{code}', {price}, {name})",
            f"UPDATE IGNORE p SET name = {name}, code = '{code}' WHERE id = {key}",
            f"UPDATE IGNORE p SET id = {other} WHERE id = {key}",
            f"DELETE FROM p WHERE id = {key}",
            f"REPLACE INTO c VALUES ({row})",
            f"REPLACE INTO c VALUES ({row})",
            f"UPDATE c SET p_code = '{code}', v = {key} WHERE id % 3 = {other % 3}",
            f"UPDATE c SET p_id = {other}, p_price = NULL WHERE id = {key}",
            f"DELETE FROM c WHERE id = {key}",
        )
    )


def run(work: Work, chance: random.Random) -> None:
    with work.source.connect(work.database) as connection, connection.cursor() as cursor:
        for _ in range(chance.randrange(1, 12)):
            for _ in range(chance.randrange(1, 4)):
                cursor.execute(statement(chance))
            connection.commit()


def expected(work: Work, orphans: str) -> dict[int, dict[str, Any]]:
    rows = work.source.execute(
        "SELECT c.id, c.p_id, c.p_code, c.p_price, c.v, one.name, two.name, three.id, one.id FROM c "
        "LEFT JOIN p one ON one.id = c.p_id LEFT JOIN p two ON HEX(two.code) = HEX(c.p_code) "
        "LEFT JOIN p three ON three.price = c.p_price",
        database=work.database,
    )
    names = ("p_id", "p_code", "p_price", "v", "by_id", "by_code", "by_price")
    return {
        number: {name: _text(value) for name, value in zip(names, row, strict=True) if value is not None}
        for number, *row, there in rows
        if there is not None or orphans == "null"
    }


def _text(value: Any) -> str:
    return str(value.normalize() if hasattr(value, "normalize") else value).replace("-0", "0")


def placed(work: Work, target: str) -> dict[int, str]:
    """The keys of the items that another section makes, by what it looks up."""
    items = work.endpoint.client().scan(TableName=f"{target}-placed", ConsistentRead=True)["Items"]
    assert len(items) == len({item["id"]["N"] for item in items}), "a row is in two places"
    return {int(item["id"]["N"]): item["pk"]["S"] for item in items}


def expected_places(work: Work) -> dict[int, str]:
    rows = work.source.execute("SELECT c.id, p.name FROM c LEFT JOIN p ON p.id = c.p_id", database=work.database)
    return {number: f"N#{'none' if name is None else name}" for number, name in rows}


def found(work: Work, target: str) -> dict[int, dict[str, Any]]:
    items = work.endpoint.client().scan(TableName=target, ConsistentRead=True)["Items"]
    return {
        int(item.pop("id")["N"]): {name: next(iter(value.values())) for name, value in item.items()} for item in items
    }


@pytest.mark.parametrize("orphans", ["null", "omit"])
@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_items_are_what_sql_joins(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, orphans: str
) -> None:
    target, chance = unique("children"), random.Random(orphans)
    work = make_work(source_server, ministack, table="p", source_settings="")
    work.mapping = MAPPING.format(target=target, orphans=orphans)
    work.write_project()
    source_server.execute(*TABLES, database=work.database)
    run(work, chance)
    work.begin()
    run(work, chance)
    for _ in range(6):
        work.call("migrate", "--until-caught-up")
        assert found(work, target) == expected(work, orphans)
        assert placed(work, target) == expected_places(work)
        run(work, chance)
    work.call("migrate", "--until-caught-up")
    work.verify()
