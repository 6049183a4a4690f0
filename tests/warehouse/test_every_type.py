"""Random values of every type, by the snapshot and by the binlog, on both engines: what a plain driver reads in the
warehouse is what another one reads at the source.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.servers import SqlServer
from tests.binlog.test_all_types import COLUMNS, MARIADB, MYSQL, sql_of
from tests.warehouse.places import Place, same, single

DATES = ("DATE", "DATETIME", "TIMESTAMP")
Strategy = st.SearchStrategy[Any]
UTC = "SET SESSION time_zone = '+00:00'"


def is_day(text: Any) -> bool:
    return not str(text).startswith("0000") and "-00" not in str(text)[:10]


def columns_of(server: SqlServer) -> dict[str, Strategy]:
    """Without days that no calendar has, which test_dates has, and without NUL characters, which PostgreSQL has not."""
    columns = COLUMNS | (MARIADB if server.flavor == "mariadb" else MYSQL)
    return {kind: values.filter(is_day) if kind.startswith(DATES) else values for kind, values in columns.items()}


def without_nul(value: Any) -> Any:
    return type(value)(value.replace("\0", "_")) if isinstance(value, str) else value


@pytest.mark.timeout(180)
def test_every_type_is_there_as_it_was(place: Place, source_server: SqlServer, database: str) -> None:
    columns = columns_of(source_server)
    named = ", ".join(f"c{i} {kind}{' NULL' if 'TIMESTAMP' in kind else ''}" for i, kind in enumerate(columns))
    source_server.execute(
        f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, {named}) CHARACTER SET utf8mb4 ROW_FORMAT = DYNAMIC",
        database=database,
    )
    nulls = ", ".join(["NULL"] * len(columns))
    listed = ", ".join(f"c{i}" for i in range(len(columns)))
    statements = [f"INSERT INTO t ({listed}) VALUES ({nulls}), ({nulls})"]  # IGNORE may leave nothing of the others
    row = st.tuples(*(st.none() | column for column in columns.values()))

    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(row, min_size=2, max_size=5))
    def insert(rows: list[tuple[Any, ...]]) -> None:
        values = ", ".join(f"({', '.join(sql_of(without_nul(value)) for value in row)})" for row in rows)
        statements.append(f"INSERT IGNORE INTO t ({listed}) VALUES {values}")

    insert()
    half = max(1, len(statements) // 2)
    source_server.execute(UTC, *statements[:half], database=database)
    place.add("types", source_server, database)
    place.converge()
    compare(place, source_server, database, list(columns))  # by the snapshot
    source_server.execute(UTC, *statements[half:], "UPDATE t SET id = id + 1000 WHERE id % 2", database=database)
    place.converge()
    compare(place, source_server, database, list(columns))  # and by the binlog
    for difference in place.verify().tables[0].differences:
        one, other = difference.expected or {}, difference.found or {}
        assert {name: value for name, value in one.items() if other[name] != value} == {}
        assert one == other, "by their digests"


def compare(place: Place, server: SqlServer, database: str, kinds: list[str]) -> None:
    forms = {"FLOAT": "c{} * 1e0", "VECTOR(3)": "CAST(c{} AS BINARY)"}  # which PyMySQL would cut or not know
    selected = [forms.get(kind, "c{}").format(i) for i, kind in enumerate(kinds)]
    wanted = server.execute(UTC, f"SELECT {', '.join(selected)} FROM t ORDER BY id", database=database)
    there = [f"CAST(c{i} AS VARCHAR)" if kind == "JSON" else f"c{i}" for i, kind in enumerate(kinds)]
    found = place.rows(f"SELECT {', '.join(there)} FROM types.t ORDER BY id")
    assert len(found) == len(wanted) > 1
    for index, kind in enumerate(kinds):
        source, there = ([plain(kind, row[index]) for row in rows] for rows in (wanted, found))
        assert there == source, kind


def plain(kind: str, value: Any) -> Any:
    """The same of either driver's form of a value."""
    if value is None:
        return None
    if kind == "FLOAT":
        return single(value)
    if kind.startswith("BIT"):
        return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)
    if kind.startswith("DECIMAL(65"):
        return f"{value:f}" if not isinstance(value, str) else value  # text in DuckDB, which has 38 digits
    if kind.startswith(("INT", "BIG", "SMALL", "TINY", "MEDIUM", "YEAR", "BOOL")) and not isinstance(
        value, str | bytes
    ):
        return int(value)
    return same(value)


@pytest.mark.parametrize("rule", ["text", "null", "stop"])
def test_days_that_no_calendar_has(place: Place, mariadb: SqlServer, rule: str) -> None:
    database = mariadb.new_database()
    rows = [
        ("1, '2020-02-29', '0001-01-01 00:00:00', '1970-01-01 00:00:01'"),
        ("2, '0000-00-00', '2020-00-10 01:02:03.5', '0000-00-00 00:00:00'"),
        ("3, '2020-02-31', NULL, NULL"),
    ]
    mode = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'"
    mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a DATE, b DATETIME(1), c TIMESTAMP NULL)",
        mode,
        *(f"INSERT INTO t VALUES ({row})" for row in rows),
        database=database,
    )
    place.add("dates", mariadb, database, f'zero_dates = "{rule}"')
    if rule == "stop":
        with pytest.raises(Exception, match=r"row \{'id': 2\}: column 'a': '0000-00-00' is not a date of the calendar"):
            place.converge()
        return
    place.converge()
    found = [
        tuple(None if value is None else str(value) for value in row)
        for row in place.rows("SELECT a, b, c FROM dates.t ORDER BY id")
    ]
    if rule == "text":
        assert found == [
            ("2020-02-29", "0001-01-01 00:00:00.0", "1970-01-01 00:00:01"),
            ("0000-00-00", "2020-00-10 01:02:03.5", "0000-00-00 00:00:00"),
            ("2020-02-31", None, None),
        ]
    else:
        assert [row[0] for row in found] == ["2020-02-29", None, None]
        assert found[1] == (None, None, None)
    assert place.verify().equal


def test_a_text_that_postgres_cannot_hold_is_refused_by_name_or_carried_as_bytes(
    make_place: Any, mariadb: SqlServer
) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9))", "INSERT INTO t VALUES (7, 'x\\0y')", database=database
    )
    place = make_place("postgres")
    place.add("nul", mariadb, database)
    with pytest.raises(Exception, match=r"row \{'id': 7\}: column 'a': PostgreSQL has no texts with a NUL"):
        place.converge()
    place.silos.clear()
    place.add("nul_bytes", mariadb, database, 'types = { "t.a" = "bytes" }')
    place.converge()
    assert [bytes(value) for (value,) in place.rows("SELECT a FROM nul_bytes.t")] == [b"x\0y"]
    assert place.verify().equal
