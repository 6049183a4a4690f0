from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, MySQL, SqlServer
from demo.shop import CREATE
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover import both_sides
from tests.handover.forked import ForkedWork
from whimbrel.project import Source

BACK = 'it\'s `back`@"home"'  # the reverse account: every character that could end a quote


@dataclass
class Fenced:
    """A database whose account may fence it, and no more; ``app`` is an application's account."""

    server: SqlServer
    database: str

    @property
    def source(self) -> Source:
        return self.server.source(self.database)

    def sql(self, *statements: str) -> Any:
        return self.server.execute(*statements, database=self.database)

    def session(self, user: str = "app") -> Any:
        return self.server.connect(self.database, user=user)


def grant(server: SqlServer, database: str) -> None:
    """What a cutover needs beside what a migration does, and the other accounts."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        f"GRANT TRIGGER, CREATE, DROP, INSERT, UPDATE, DELETE ON `{database}`.* TO '{server.user}'@'%'",
        *(["GRANT XA_RECOVER_ADMIN ON *.* TO 'whimbrel'@'%'"] if isinstance(server, MySQL) else []),
    )
    for name in ("app", BACK):
        quoted = name.replace("'", "''")
        server.execute(
            f"CREATE USER IF NOT EXISTS '{quoted}'@'%' IDENTIFIED BY '{server.password}'",
            f"GRANT ALL ON `{database}`.* TO '{quoted}'@'%'",
        )


@pytest.fixture
def make_fenced() -> Callable[[SqlServer], Fenced]:
    def make(server: SqlServer) -> Fenced:
        database = server.new_database()
        grant(server, database)
        return Fenced(server, database)

    return make


@pytest.fixture
def fenced(source_server: SqlServer, make_fenced: Callable[[SqlServer], Fenced]) -> Fenced:
    """With two tables, t and u, of one row each."""
    made = make_fenced(source_server)
    for table in ("t", "u"):
        made.sql(f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {table} VALUES (1, 1)")
    return made


@pytest.fixture
def make_shop(
    tmp_path: Path, ministack: Ministack, make_fenced: Callable[[SqlServer], Fenced]
) -> Callable[[SqlServer], Work]:
    """A migration that has caught up, of a purchase table that may be cut over."""

    def make(server: SqlServer) -> Work:
        fenced = make_fenced(server)
        work = Work(tmp_path, server, fenced.database, ministack, unique("purchase"), source_settings="")
        set_up(work)
        fenced.sql(CREATE, "INSERT INTO purchase VALUES ('first', 'o1', 'p1', 1)")
        work.call("migrate", "--until-caught-up")
        work.call("verify")
        return work

    return make


def set_up(work: Work, settings: str = "") -> None:
    work.target_settings = f"[cutover]\nmax_stall = 20\n{settings}"
    work.write_project()


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)])
def shop(request: pytest.FixtureRequest, make_shop: Callable[[SqlServer], Work]) -> Work:
    return make_shop(request.getfixturevalue(request.param))


@pytest.fixture
def site(source_server: SqlServer, ministack: Ministack, database: str, tmp_path: Path) -> both_sides.Site:
    return both_sides.make(source_server, ministack, database, tmp_path, kind=ForkedWork)
