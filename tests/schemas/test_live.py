"""Three systems of the well-known kinds, made for this, in one migration while their applications write: verified under
writes, and judged at rest by what plain SELECTs say.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import ModuleType

import pytest

from demo.servers import MariaDB, Ministack, MySQL, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork, make_work
from tests.e2e.work import Work
from tests.schemas import company, orders, rentals
from tests.schemas.application import Application

__all__ = ["make_work"]  # the fixture
SYSTEMS = (company, rentals, orders)
FILLED, WRITTEN = 400, 30  # transactions of each before the migration, and while changes are applied


def test_live_systems_on_mariadb(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    move(make_work, mariadb, ministack)


@pytest.mark.slow
def test_live_systems_on_mysql(make_work: MakeWork, mysql: MySQL, ministack: Ministack) -> None:
    applications = move(make_work, mysql, ministack, cascade=rentals.CASCADE)
    # A film has such a number only after a move, and what is played in it only by the cascade of that.
    assert applications[rentals].rows(f"SELECT * FROM plays WHERE film >= {rentals.FILMS}")


def move(
    make_work: MakeWork, server: SqlServer, endpoint: Ministack, *, cascade: str = ""
) -> dict[ModuleType, Application]:
    """Without ``cascade``, which is refused where it is not in the binlog, foreign keys restrict."""
    work = make_work(server, endpoint, source_settings="chunk_rows = 20")
    applications = {
        system: Application(
            server, server.new_database("live"), system.SCHEMA.replace("%(cascade)s", cascade), system.step
        )
        for system in SYSTEMS
    }
    for application in applications.values():
        application.write(FILLED)
    write_project(work, applications)
    with ExitStack() as writing, work.running("migrate") as process:
        counts = [writing.enter_context(each.writing()) for each in applications.values()]
        work.wait_for(work.in_phase("apply"), process)
        enough = [count() + WRITTEN for count in counts]
        work.wait_for(lambda: all(count() > least for count, least in zip(counts, enough, strict=True)), process)
        work.run("verify", "--json")  # its exit code says if there is a difference
    work.run("migrate", "--until-caught-up")
    assert work.letters() == []
    for system, application in applications.items():
        expected = system.expected(application)
        found = judge.items(endpoint, target_of(work, system), "pk", "sk")
        assert found == expected, judge.differences(expected, found)
        assert len(found) > FILLED // 30
    assert json.loads(work.call("verify", "--json").stdout.splitlines()[-1])["equal"]
    return applications


def write_project(work: Work, applications: dict[ModuleType, Application]) -> None:
    path = work.folder / "whimbrel.toml"
    text = path.read_text().partition("[[table]]")[0]
    for system, application in applications.items():
        for table in system.MAPPING:
            table = table.replace('source = "', f'source = "{application.database}.')
            text += f'\n[[table]]\ntarget = "{target_of(work, system)}"\n{table}\n'
    path.write_text(text)


def target_of(work: Work, system: ModuleType) -> str:
    return f"{work.target}.{system.__name__.rpartition('.')[2]}"
