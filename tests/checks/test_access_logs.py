"""Where an application's statements are read: a slow log, a general log, performance_schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checks.case import GROUP, PURCHASE, Case
from tests.conftest import unique
from whimbrel.checks.access.statements import SeenStatement, from_file, of_general_log, of_slow_log
from whimbrel.errors import ProjectError

SLOW = """/usr/sbin/mysqld, Version: 8.0.36 (MySQL). started with:
Tcp port: 3306  Unix socket: /run/mysqld.sock
Time                 Id Command    Argument
# Time: 2024-01-01T00:00:00.000000Z
# User@Host: app[app] @ localhost []  Id:     8
# Query_time: 0.000100  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 1
use shop;
SET timestamp=1704067200;
SELECT *
FROM customer WHERE id = 5;
# User@Host: app[app] @ localhost []  Id:     8
# Query_time: 0.000100  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 1
SET timestamp=1704067201;
SELECT * FROM customer WHERE id = 6;
"""


GENERAL = """2024-01-01T00:00:00.000000Z\t    8 Connect\tapp@localhost on shop using TCP/IP
2024-01-01T00:00:00.000000Z\t    9 Connect\tapp@localhost on  using TCP/IP
2024-01-01T00:00:00.000000Z\t    8 Query\tSELECT *
FROM customer WHERE id = 5
240101 12:00:00\t    9 Init DB\tother
\t\t    9 Query\tSELECT * FROM t
\t\t    8 Prepare\tSELECT * FROM customer WHERE id = ?
\t\t    8 Execute\tSELECT * FROM customer WHERE id = 6
2024-01-01T00:00:00.000000Z\t    8 Quit\t
"""


def test_logs(tmp_path: Path) -> None:
    slow = list(of_slow_log(SLOW.splitlines(keepends=True), ""))
    assert [(each.database, each.text) for each in slow] == [("shop", "SELECT * FROM customer WHERE id = ?")] * 2
    general = list(of_general_log(GENERAL.splitlines(keepends=True), ""))
    assert general == [
        SeenStatement("SELECT * FROM customer WHERE id = ?", "shop"),
        SeenStatement("SELECT * FROM t", "other"),
        SeenStatement("SELECT * FROM customer WHERE id = ?", "shop"),
    ]
    for name, content in (
        ("slow.log", SLOW),
        ("general.log", GENERAL),
        ("app.sql", "SELECT * FROM customer WHERE id = 9"),
    ):
        (tmp_path / name).write_text(content)
        assert SeenStatement("SELECT * FROM customer WHERE id = ?", "shop") in from_file(tmp_path / name, "shop")
    with pytest.raises(ProjectError, match="cannot be read"):
        from_file(tmp_path / "none.sql", "")


def test_the_command(on_mariadb: Case) -> None:
    on_mariadb.execute(
        PURCHASE, "INSERT INTO purchase VALUES ('c', 'o', 'p', 1), ('c', 'o', 'q', 2), ('d', 'o', 'p', 3)"
    )
    on_mariadb.project(GROUP, "purchase")
    file = on_mariadb.folder / "app.sql"
    file.write_text(
        "SELECT * FROM purchase WHERE customerid = 'c' AND orderid = 'o';" * 3
        + "SELECT * FROM purchase WHERE quantity > 1;"
    )
    assert "25.0% of the statements" in on_mariadb.reason("access-scan", "--statements", str(file))
    served = on_mariadb.report["access"]["patterns"]
    assert [(each["served_by"], each["count"], each["units"]) for each in served] == [
        ("GetItem", 3, 0.5),
        ("Scan", 1, 0.5),
    ]
    result = on_mariadb.call("check", "--statements", str(file))
    assert "75.0%  GetItem, 0.5 read units: SELECT * FROM purchase" in result.stdout
    missing = on_mariadb.call("check", "--json", "--statements", "none.sql")
    assert (missing.exit_code, json.loads(missing.stdout)["place"]) == (2, "none.sql")


def test_performance_schema(on_mysql: Case) -> None:
    on_mysql.execute(PURCHASE, "INSERT INTO purchase VALUES ('c', 'o', 'p', 1)")
    user = on_mysql.user = unique("app")[:30]
    on_mysql.password = "a password"
    on_mysql.project(GROUP, "purchase")
    on_mysql.execute(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'a password'",
        f"GRANT SELECT, LOCK TABLES ON {on_mysql.database}.* TO '{user}'@'%'",
        f"GRANT RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%'",
    )
    found = on_mysql.check("--statements", "performance_schema")
    assert "access-statements" in found, found
    [refused] = found["access-statements"]
    assert "GRANT SELECT ON performance_schema.*" in refused["remedy"]
    on_mysql.execute(f"GRANT SELECT ON performance_schema.* TO '{user}'@'%'")
    for number in range(4):
        on_mysql.execute(f"SELECT * FROM purchase WHERE customerid = 'c{number}' AND orderid IN ('a', 'b')")
    on_mysql.execute("SELECT quantity FROM purchase WHERE quantity BETWEEN 1 AND 2 ORDER BY quantity DESC LIMIT 3, 7")
    on_mysql.check("--statements", "performance_schema")
    by_verdict = {
        each["served_by"]: each for each in on_mysql.report["access"]["patterns"] if "WHERE `" in each["statement"]
    }
    assert by_verdict["BatchGetItem"]["count"] == 4
    assert by_verdict["Scan"]["count"] >= 1
