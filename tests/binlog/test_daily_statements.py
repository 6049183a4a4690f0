"""What ORMs, migration tools and operators do in the weeks of a migration: it follows all of it, rightly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from demo.servers import SqlServer
from tests.binlog.conftest import Source
from tests.binlog.following import Following

COLUMNS = "(id INT PRIMARY KEY, title VARCHAR(50), price INT)"


def sections() -> Iterator[tuple[str, str, list[str]]]:
    """The servers, who sends it, and the statements."""
    text = (Path(__file__).parent / "statements" / "daily.sql").read_text(encoding="utf-8")
    for found in re.finditer(r"^\[([\w ]+): (.+)\]\n((?:.+\n)+)", text, re.MULTILINE):
        yield found[1], found[2], found[3].splitlines()


def test_daily_life_goes_on(source_server: SqlServer) -> None:
    faults = [
        f"{who}: {fault}"
        for servers, who, statements in sections()
        if source_server.flavor in servers.split()
        for fault in lived_through(source_server, statements)
    ]
    assert not faults, "\n".join(faults)


def lived_through(server: SqlServer, statements: list[str]) -> list[str]:
    """What is wrong after them."""
    source = Source(server, server.new_database())
    for table in ("kept", "book"):
        source.execute(f"CREATE TABLE {table} {COLUMNS}", f"INSERT INTO {table} VALUES (1, 'one', 1), (2, 'two', 2)")
    refused = []
    with closing(server.connect()) as plain, closing(server.connect(source.database)) as connection:
        following = Following(source, plain, [source.table("kept"), source.table("book")], source.position())
        for statement in statements:
            try:
                connection.query(statement)
            except pymysql.err.MySQLError as error:
                refused.append(f"the server refuses {statement!r}: {error}")
        source.execute("INSERT INTO kept VALUES (3, 'three', 3)", "UPDATE book SET title = 'last' WHERE id = 1")
        stopped = following.follow(source.position())
        return [*refused, *([f"stopped: {stopped}"] if stopped else []), *following.differences()]


@pytest.mark.parametrize("who", ["Django", "Rails", "Laravel", "Flyway", "Liquibase", "Prisma", "Alembic"])
def test_every_tool_has_its_section(who: str) -> None:
    assert any(each[1] == who and len(each[2]) > 5 for each in sections())
