"""What the source is, and the faults that are named before anything is moved."""

# ruff: noqa: E501
from __future__ import annotations

import dataclasses
import re

import pytest

from tests.snapshot.conftest import Shop
from whimbrel.errors import PrivilegeError, SourceUnreachable, UnsupportedSource
from whimbrel.mysql.connect import (
    connect,
    current_position,
    server_info,
    version_number,
)
from whimbrel.mysql.preflight import check_source, source_faults
from whimbrel.mysql.schema import estimated_rows, read_table, table_names
from whimbrel.records import Table


def faults(shop: Shop, *tables: Table) -> str:
    with shop.server.connect() as connection:
        return "\n".join(map(str, source_faults(connection, tables)))


def simple(shop: Shop) -> Table:
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    return shop.table()


def test_the_server_tells_what_it_is(shop: Shop) -> None:
    info = server_info(shop.connection)
    assert info.flavor == shop.server.flavor
    assert info.version >= ((10, 5, 0) if info.flavor == "mariadb" else (8, 0, 0))
    assert info.server_id == shop.server.server_id
    assert info.gtid
    assert re.fullmatch(r"\d+:\d+" if info.flavor == "mariadb" else r"[0-9a-f-]{36}", info.server_uuid)


def test_version_numbers() -> None:
    assert version_number("5.5.5-10.11.6-MariaDB-0+deb12u1-log") == (10, 11, 6)
    assert version_number("8.0.41-0ubuntu0.22.04.1") == (8, 0, 41)


def test_the_position_moves_with_every_commit(shop: Shop) -> None:
    simple(shop)
    before = current_position(shop.connection)
    shop.execute("INSERT INTO t VALUES (2)")
    after = current_position(shop.connection)
    assert after.at_or_after(before)
    assert not before.at_or_after(after)
    assert before.gtid != after.gtid
    assert current_position(shop.connection) == after


def test_a_good_source_has_no_faults(shop: Shop) -> None:
    """Seen by the account that a migration has, with no more than its grants."""
    check_source(shop.connection, [simple(shop)])
    assert estimated_rows(shop.connection, [shop.table()])[shop.table().full_name] >= 0
    assert table_names(shop.connection, shop.database) == ["t"]


SETTINGS = [("binlog_row_image", "MINIMAL", "FULL"), ("binlog_format", "STATEMENT", "ROW")]


@pytest.mark.parametrize(("name", "bad", "good"), SETTINGS)
def test_settings_are_named(shop: Shop, name: str, bad: str, good: str) -> None:
    table = simple(shop)
    try:
        shop.execute(f"SET GLOBAL {name} = {bad}")
        assert f"{name}: is {bad}, must be {good}. SET GLOBAL" in faults(shop, table)
        with pytest.raises(UnsupportedSource, match=name):
            check_source(shop.connection, [table])
    finally:
        shop.execute(f"SET GLOBAL {name} = {good}")


def test_partial_json_is_named(shop: Shop) -> None:
    if shop.server.flavor == "mariadb":
        pytest.skip("MariaDB always logs whole documents")
    try:
        shop.execute("SET GLOBAL binlog_row_value_options = PARTIAL_JSON")
        assert "PARTIAL_JSON" in faults(shop)
    finally:
        shop.execute("SET GLOBAL binlog_row_value_options = ''")


def test_an_engine_without_transactions_is_named(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM")
    assert f"{shop.database}.t: engine MyISAM has no transactions" in faults(shop, shop.table())


def test_cascades_are_named_where_the_binlog_lacks_them(shop: Shop) -> None:
    """The judge is the binlog: is there an event for the child's row? (A table map of it is there in any case.)"""
    shop.execute(
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT c FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (1, 1)",
    )
    position = current_position(shop.connection)
    shop.execute("DELETE FROM parent WHERE id = 1")
    events = shop.execute(f"SHOW BINLOG EVENTS IN '{position.file}' FROM {position.offset}")
    maps = [event[5].split()[1] for event in events if event[2] == "Table_map" and ".child)" in event[5]]
    logged = any(event[2].startswith("Delete_rows") and event[5].split()[1] in maps for event in events)
    with shop.server.connect() as other:
        for connection in (shop.connection, other):
            found = "\n".join(map(str, source_faults(connection, [shop.table("child")])))
            assert ("c has ON DELETE CASCADE" in found) == (not logged)


def test_a_lacking_privilege_is_named_with_its_grant(shop: Shop) -> None:
    table, user = simple(shop), f"u{shop.database}"[:30]
    shop.execute(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pass word'", f"GRANT SELECT ON {shop.database}.* TO '{user}'@'%'"
    )
    source = dataclasses.replace(shop.source, user=user, password="pass word")
    with connect(source) as connection:
        found = [fault for fault in source_faults(connection, [table]) if isinstance(fault, PrivilegeError)]
    assert found
    assert f"user {user}@%" in str(found[0])
    assert "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT" in str(found[0])


def test_connection_errors_say_where_and_keep_the_password(shop: Shop) -> None:
    with pytest.raises(PrivilegeError, match=str(shop.server.port)) as refused:
        connect(dataclasses.replace(shop.source, password="the wrong one"))
    assert "the wrong one" not in str(refused.value) + repr(refused.value.__cause__)
    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1:1:"):
        connect(dataclasses.replace(shop.source, port=1))
    with pytest.raises(SourceUnreachable, match="tls"):
        connect(dataclasses.replace(shop.source, tls="verify"))


def test_a_password_beyond_ascii(shop: Shop) -> None:
    simple(shop)
    user = f"u{shop.database}"[:30]
    shop.execute(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'Füße€'", f"GRANT SELECT ON {shop.database}.* TO '{user}'@'%'"
    )
    source = dataclasses.replace(shop.source, user=user, password="Füße€")
    assert shop.export(shop.table(), source=source).rows == 1


def test_names_keep_their_case(shop: Shop) -> None:
    shop.execute("CREATE TABLE Orders (Id INT PRIMARY KEY)", "CREATE TABLE orders (id INT PRIMARY KEY, v INT)")
    assert shop.table("Orders").names == ("Id",)
    assert shop.table("orders").names == ("id", "v")
    with pytest.raises(UnsupportedSource, match=r"ORDERS: does not exist, or may not be read.*Orders, orders"):
        shop.table("ORDERS")


def test_strange_names(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE `a``b %s` (`k``'\"` VARCHAR(9), `%d` INT, PRIMARY KEY (`k``'\"`))",
        "INSERT INTO `a``b %s` VALUES ('x', 1)",
    )
    table = read_table(shop.connection, shop.database, "a`b %s")
    shop.export(table)
    assert (table.names, shop.rows()) == (("k`'\"", "%d"), [("x", 1)])


@pytest.mark.parametrize(("made", "kind", "flavor"), [
    ("CREATE VIEW t AS SELECT 1 AS a", "view", ""),
    ("CREATE SEQUENCE t", "sequence", "mariadb"),
    ("CREATE TABLE t (a INT PRIMARY KEY) WITH SYSTEM VERSIONING", "system versioned", "mariadb"),
])  # fmt: skip
def test_what_is_no_plain_table_is_refused(shop: Shop, made: str, kind: str, flavor: str) -> None:
    if flavor not in ("", shop.server.flavor):
        pytest.skip(f"{kind} is {flavor}'s")
    shop.execute(made)
    with pytest.raises(UnsupportedSource, match=f"is a {kind}"):
        shop.table()


def test_columns_are_described(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, d DECIMAL(12,3), c VARCHAR(7) COLLATE latin1_german1_ci NOT NULL, "
        "ts DATETIME(4), j JSON, b BINARY(5), e ENUM('x','y') NOT NULL)"
    )
    table = shop.table()
    assert [column.kind for column in table.columns] == ["int", "decimal", "text", "datetime", "json", "binary", "enum"]
    by_name = {column.name: column for column in table.columns}
    assert (by_name["id"].unsigned, by_name["id"].nullable) == (True, False)
    assert (by_name["d"].precision, by_name["d"].scale, by_name["d"].nullable) == (12, 3, True)
    assert (by_name["c"].length, by_name["c"].charset, by_name["c"].collation) == (7, "latin1", "latin1_german1_ci")
    assert (by_name["ts"].scale, by_name["b"].length, by_name["e"].members) == (4, 5, ("x", "y"))
    assert (by_name["j"].charset == "") == (shop.server.flavor == "mysql")
