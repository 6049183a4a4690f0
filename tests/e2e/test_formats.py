"""Keys made through formats, while rows are written: their items move, what does not fit is set aside and retried."""

from __future__ import annotations

from typing import Any

import pytest

from demo.servers import Ministack, MySQL, SqlServer
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

SHARDED = """
partition_key = { name = "pk", value = "${taken:%Y-%m-%d}#${id%4}#${site:-NOWHERE}" }
sort_key = { name = "sk", value = "${id:05d}#${taken:reversed_ms}" }
"""
TABLE = "CREATE TABLE reading (id INT PRIMARY KEY, taken DATETIME(3) NOT NULL, site VARCHAR(9), value INT)"
ROWS = (
    "INSERT INTO reading VALUES (1, '2026-01-31 12:00', NULL, 1), (-5, '2026-01-31 12:00', 'a', 2), "
    "(3, '1960-01-01', 'a', 3), (4, '2026-01-31 12:00:00.001', 'NOWHERE', 4), (5, '2026-01-31 23:59:59.999', 'b', 5)"
)
LIVE = (
    "INSERT INTO reading VALUES (100000, '2026-01-31', 'a', 6), (6, '2026-02-01', NULL, 7)",
    "UPDATE reading SET taken = '2026-02-01 00:00:00' WHERE id = 5",  # another partition
    "UPDATE reading SET site = 'c' WHERE id = 1",
    "UPDATE reading SET value = 8 WHERE id = 6",
    "DELETE FROM reading WHERE id = 6",
    "INSERT INTO reading VALUES (6, '2026-02-02', NULL, 9)",
    "UPDATE reading SET id = -1 WHERE id = 1",
)
REPAIR = (
    "UPDATE reading SET id = 7 WHERE id = -5",
    "UPDATE reading SET id = 8 WHERE id = 100000",
    "UPDATE reading SET id = 1 WHERE id = -1",
    "UPDATE reading SET taken = '1970-01-01' WHERE id = 3",
    "UPDATE reading SET site = NULL WHERE id = 4",
)


def test_keys_through_formats(make_work: MakeWork, mariadb: SqlServer, ministack: Ministack) -> None:
    through_formats(make_work, mariadb, ministack)


@pytest.mark.slow
def test_keys_through_formats_on_mysql(make_work: MakeWork, mysql: MySQL, ministack: Ministack) -> None:
    through_formats(make_work, mysql, ministack)


def through_formats(make_work: MakeWork, source: SqlServer, endpoint: Ministack) -> None:
    work = make_work(source, endpoint, table="reading", mapping=SHARDED, source_settings="chunk_rows = 2")
    source.execute(TABLE, ROWS, database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    assert sorted(letter["source_key"]["id"] for letter in work.letters()) == [-5, 3, 4]
    assert set(keys(work)) == {("2026-01-31#1#NOWHERE", 1), ("2026-01-31#1#b", 5)}
    source.execute(*LIVE, database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    assert set(keys(work)) == {("2026-02-01#1#b", 5), ("2026-02-02#2#NOWHERE", 6)}
    source.execute(*REPAIR, database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    work.call("retry-dead")
    assert not work.letters()
    work.verify()
    work.call("refill", "reading")
    work.endpoint.client().delete_item(TableName=work.target, Key=keys(work)["2026-02-01#1#b", 5])
    assert work.verify(equal=False)["counts"] == {"missing": 1}


def keys(work: Work) -> dict[tuple[str, int], dict[str, Any]]:
    """The keys of the target's items, by the partition key and the row."""
    found = work.endpoint.client().scan(TableName=work.target, ConsistentRead=True)["Items"]
    return {(each["pk"]["S"], int(each["id"]["N"])): {"pk": each["pk"], "sk": each["sk"]} for each in found}
