"""Whole ways there and back over tables unlike the shop's: names with every kind of character, several databases,
columns that the server computes, tables that are empty, items close to the limit, many tables at once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from demo.application import allow
from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover.closing import REFUSED, WIDE, WRITES
from tests.handover.test_fence import tried, tried_once

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)]

LARGE = "é" * 190_000  # of two bytes each


def quoted(*names: str) -> str:
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


@dataclass
class Odd:
    """A table, its mapping's key, its first rows, and those that there are after ``changes`` at DynamoDB: items to put,
    and keys to delete. ``write`` is a statement with which an application writes to it.
    """

    schema: str
    name: str
    create: str
    key: str
    first: list[tuple[Any, ...]]
    puts: list[dict[str, Any]]
    deletes: list[dict[str, Any]]
    after: list[tuple[Any, ...]]
    write: str
    target: str = ""

    @property
    def sql(self) -> str:
        return quoted(self.schema, self.name)

    @property
    def rule(self) -> str:
        source = json.dumps(f"{self.schema}.{self.name}", ensure_ascii=False)
        return f'[[table]]\nsource = {source}\ntarget = "{self.target}"\nshape = "record"\npartition_key = {self.key}\n'


def odd_tables(number: str) -> list[Odd]:
    one, two = f"ö'x\"y-{number}", f"z z`{number}"
    return [
        Odd(
            one,
            "a.b`c'd\"",
            "(id INT PRIMARY KEY, v VARCHAR(30), twice INT AS (id * 2) VIRTUAL, thrice INT AS (id * 3) STORED)",
            '{ name = "id", type = "N" }',
            [(1, "one", 2, 3), (2, "two", 4, 6), (3, "three", 6, 9)],
            [
                {"id": {"N": "1"}, "v": {"S": "it's `new`"}, "twice": {"N": "2"}, "thrice": {"N": "3"}},
                {"id": {"N": "5"}, "v": {"NULL": True}, "twice": {"N": "10"}, "thrice": {"N": "15"}},
            ],
            [{"id": {"N": "2"}}],
            [(1, "it's `new`", 2, 3), (3, "three", 6, 9), (5, None, 10, 15)],
            "INSERT INTO {} (id, v) VALUES (100, 'late')",
        ),
        Odd(
            one,
            "日本語" * 10 + "x" * 34,  # 64: more would be too long for the name of a file
            '(code VARCHAR(20) PRIMARY KEY, `wert.é"` DECIMAL(10,2)) DEFAULT CHARSET utf8mb4',
            '{ name = "code" }',
            [],
            [{"code": {"S": "Ä.b"}, 'wert.é"': {"N": "12.5"}}],
            [],
            [("Ä.b", "12.50")],
            "REPLACE INTO {} VALUES ('late', 1)",
        ),
        Odd(
            two,
            "select",
            "(id BIGINT PRIMARY KEY AUTO_INCREMENT, big MEDIUMTEXT) DEFAULT CHARSET utf8mb4",
            '{ name = "id", type = "N" }',
            [(1, LARGE), (2, "small")],
            [{"id": {"N": "2"}, "big": {"S": LARGE}}, {"id": {"N": "9"}, "big": {"S": LARGE}}],
            [{"id": {"N": "1"}}],
            [(2, LARGE), (9, LARGE)],
            "INSERT INTO {} (big) VALUES ('late')",
        ),
    ]


@dataclass
class Place:
    """Where the tables are: their project, whose application is the account ``user``."""

    work: Work
    tables: list[Odd]
    user: str

    def rows(self, table: Odd) -> list[tuple[Any, ...]]:
        found = self.work.source.execute(f"SELECT * FROM {table.sql} ORDER BY 1")
        return [tuple(str(each) if type(each).__name__ == "Decimal" else each for each in row) for row in found]

    def change(self) -> None:
        client = self.work.endpoint.client()
        for table in self.tables:
            for item in table.puts:
                client.put_item(TableName=table.target, Item=item)
            for key in table.deletes:
                client.delete_item(TableName=table.target, Key=key)


@pytest.fixture(params=["triggers", "revoke"])
def fence(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> Callable[..., Place]:
    return lambda tables, fence: place(source_server, ministack, tmp_path, tables, fence)


def place(source: SqlServer, endpoint: Ministack, folder: Path, tables: list[Odd], fence: str) -> Place:
    user, schemas = f"clerk{secrets.token_hex(4)}", sorted({table.schema for table in tables})
    source.execute(f"CREATE USER {user}@'%' IDENTIFIED BY '{source.password}'")
    for schema in schemas:
        source.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}")
        allow(source, schema.replace("`", "``"), "back")
        source.execute(
            f"GRANT {WRITES} ON {quoted(schema)}.* TO 'whimbrel'@'%' WITH GRANT OPTION",
            "GRANT PROCESS ON *.* TO 'whimbrel'@'%'",
            f"GRANT SELECT ON {quoted(schema)}.* TO {user}@'%'",
        )
    for table in tables:
        table.target = unique("odd")
        source.execute(
            f"CREATE TABLE {table.sql} {table.create}",
            f"CREATE VIEW {quoted(table.schema, 'v ' + table.target)} AS SELECT * FROM {table.sql}",
            f"GRANT {WRITES} ON {table.sql} TO {user}@'%'",
        )
        insert(source, table)
    waived = json.dumps([f"{name}@{host}" for name, host in source.execute(WIDE)])
    revoking = f'fence = "revoke"\nrevoke_from = ["{user}@%"]\nwaived_accounts = {waived}\n'
    (folder / "whimbrel.toml").write_text(
        f'[source]\nurl = "{source.url(quote(schemas[0]))}"\n'
        f'[target]\nendpoint = "{endpoint.endpoint}"\nregion = "us-east-1"\n'
        '[cutover]\nreverse_user = "back"\nroute_file = "route.json"\nlease_seconds = 0.1\nwrite_seconds = 0.1\n'
        f"late_seconds = 0\nmax_stall = 20\n" + revoking * (fence == "revoke") + "".join(table.rule for table in tables)
    )
    work = Work(folder, source, schemas[0], endpoint, "")
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = source.password
    return Place(work, tables, user)


def insert(source: SqlServer, table: Odd) -> None:
    """Without the columns that the server computes."""
    with source.connect(table.schema, autocommit=True) as connection, connection.cursor() as cursor:
        for row in table.first:
            names, values = ("(id, v)", row[:2]) if len(row) == 4 else ("", row)
            cursor.execute(f"INSERT INTO {table.sql} {names} VALUES ({', '.join(['%s'] * len(values))})", values)


def test_there_and_back(made: Callable[..., Place], fence: str) -> None:
    place = made(odd_tables(secrets.token_hex(4)), fence)
    work = place.work
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    with closing(work.source.connect(None, user=place.user, autocommit=True)) as app:
        stall = json.loads(work.run("cutover", "--yes", "--until-open", "--json").stdout.splitlines()[-1])["stall_ms"]
        for table in place.tables:
            assert tried(app, table.write.format(table.sql)) in REFUSED
            if fence == "triggers":  # by the rights of the view's maker, too
                view = quoted(table.schema, "v " + table.target)
                assert tried_once(work.source.connect(None), table.write.format(view)) == REFUSED[0]
            assert place.rows(table) == table.first
        place.change()
        assert json.loads(work.run("rollback", "--yes", "--json").stdout.splitlines()[-1])["side"] == "mysql"
        for table in place.tables:
            assert place.rows(table) == table.after
            assert tried(app, table.write.format(table.sql)) == 0
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    work.run("cutover", "--yes", "--until-open")
    work.run("finish", "--yes")
    left = work.source.execute("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA LIKE 'ö%'")
    assert [name for (name,) in left if "whimbrel" in name] == []
    print(f"{work.source.name}, {fence}: stall {stall} ms")


def test_twenty_tables_at_once(made: Callable[..., Place]) -> None:
    schema = f"many_{secrets.token_hex(4)}"
    item = {"id": {"N": "2"}, "v": {"N": "2"}}
    tables = [
        Odd(
            schema,
            f"t{number}",
            "(id INT PRIMARY KEY, v INT)",
            '{ name = "id", type = "N" }',
            [(1, number)],
            [item],
            [],
            [(1, number), (2, 2)],
            "INSERT INTO {} VALUES (3, 3)",
        )
        for number in range(20)
    ]
    place = made(tables, "triggers")
    place.work.run("migrate", "--until-caught-up")
    place.work.run("verify")
    done = json.loads(place.work.run("cutover", "--yes", "--until-open", "--json").stdout.splitlines()[-1])
    print(f"{place.work.source.name}: stall {done['stall_ms']} ms, {done['stall_parts']}")
    place.change()
    back = json.loads(place.work.run("rollback", "--yes", "--json").stdout.splitlines()[-1])
    print(f"rollback {back['stall_ms']} ms, {back['stall_parts']}")
    assert [place.rows(table) for table in tables] == [table.after for table in tables]
