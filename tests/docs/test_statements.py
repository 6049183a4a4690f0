"""Every SQL statement of the pages, run as it stands on the servers that it is for.

The recipes of docs/mappings.md are cases (``tests/cases``), and run as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import SqlServer
from tests.docs.blocks import Block, blocks
from tests.test_docs import recipes

ONLY = {"mysql": "MariaDB", "mariadb": "MySQL"}  # a comment behind a statement that begins so: it is not for this one
# What the pages speak of as being there.
THERE = {
    "orders": "customer_id INT, placed DATETIME",
    "whimbrel_handover": "source INT, place TEXT, holder TEXT, step VARCHAR(20), epoch INT",
}
ON_RDS = (
    "CREATE PROCEDURE mysql.rds_set_configuration(name VARCHAR(99), value INT) BEGIN END",
    "CREATE PROCEDURE mysql.rds_show_configuration() BEGIN END",
)


def pages() -> dict[Path, list[Block]]:
    cases = {sql for _, found in recipes() for sql in re.findall(r"```sql\n(.*?)```", found, re.DOTALL)}
    found: dict[Path, list[Block]] = {}
    for block in blocks("sql"):
        if block.text not in cases:
            found.setdefault(block.page, []).append(block)
    return found


@pytest.fixture
def shop(source_server: SqlServer) -> Iterator[SqlServer]:
    """A server with a database ``shop``, as the pages have it, and nothing left of it afterwards."""
    server = source_server
    server.execute("CREATE DATABASE shop")
    server.execute(*ON_RDS, database="shop")
    yield server
    for schema in ("shop", "whimbrel"):
        server.execute(f"DROP DATABASE IF EXISTS {schema}")
    for account in ("whimbrel_docs@'%'", "reverse@'%'"):
        server.execute(f"DROP USER IF EXISTS {account}")
    for procedure in ("rds_set_configuration", "rds_show_configuration"):
        server.execute(f"DROP PROCEDURE mysql.{procedure}")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_statement_is_run(page: Path, shop: SqlServer) -> None:
    text = "".join(block.text for block in pages()[page])
    text = text.replace("'whimbrel'@", "'whimbrel_docs'@")  # the tests' own account has the other name
    if "CREATE USER 'whimbrel_docs'" not in text:
        shop.execute("CREATE USER 'whimbrel_docs'@'%'")
    for name, columns in THERE.items():
        if f"CREATE TABLE {name} " not in text:
            shop.execute(f"CREATE TABLE {name} ({columns})", database="shop")
    for statement in statements(text, shop.flavor):
        shop.execute(statement, database="shop")


def statements(text: str, flavor: str) -> Iterator[str]:
    for statement, comment in re.findall(r"(.+?);[ \t]*(?:-- ([^\n]*))?(?:\n|\Z)", text, re.DOTALL):
        if not comment.startswith(ONLY[flavor]):
            yield re.sub(r"^-- .*\n", "", statement.lstrip())


def test_a_statement_is_for_the_server_that_its_comment_names() -> None:
    text = "A;\nB 'x;y';   -- MySQL only\n\nC\nD;  -- MariaDB\n-- times: 3\nE;\n"
    assert list(statements(text, "mysql")) == ["A", "B 'x;y'", "E"]
    assert list(statements(text, "mariadb")) == ["A", "C\nD", "E"]


def test_there_are_pages_with_statements() -> None:
    assert len(pages()) >= 5
