"""The project file is edited between two runs: what no longer means what was carried is refused by name, and what is
left over in the warehouse is named.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from tests.warehouse.places import Place
from tests.warehouse.test_broken_off import following, until
from whimbrel.errors import StateError, UnsupportedSource, WhimbrelError
from whimbrel.migration.progress import Progress
from whimbrel.notes import NAME
from whimbrel.project import load_project
from whimbrel.warehouse.duckdb_file import DuckDBFile
from whimbrel.warehouse.items import ItemSiloRun
from whimbrel.warehouse.ledger import make_ledger

MakePlace = Callable[[str], Place]
ITEMS = (
    '[target]\nregion = "us-east-1"\nendpoint = "http://127.0.0.1:9"\n[[silo]]\nname = "first"\ndynamodb = ["item"]\n'
)


def shop(server: SqlServer, rows: str = "(1, 1), (2, 2)") -> str:
    database = server.new_database()
    server.execute(
        "CREATE TABLE item (id INT PRIMARY KEY, n INT)", f"INSERT INTO item VALUES {rows}", database=database
    )
    return database


def made_engine(place: Place) -> DuckDBFile:
    engine = DuckDBFile(place.file, place.folder / "spill")
    with engine.session() as session:
        make_ledger(session)
    return engine


def refused(place: Place, message: str, kind: type[WhimbrelError] = UnsupportedSource) -> WhimbrelError:
    place.write()
    for ask in (place.check, place.converge, place.verify):
        with pytest.raises(kind, match=message) as found:
            ask()
    return found.value


def test_a_silo_is_not_continued_with_another_database(make_place: MakePlace, mariadb: MariaDB) -> None:
    """Its tables may have the same names, and the binlog is the same one."""
    place, first, other = make_place("duckdb"), shop(mariadb), shop(mariadb, "(7, 7)")
    place.add("first", mariadb, first)
    place.converge()
    begun = place.silos[0]
    place.silos[0] = begun.replace(first, other)
    error = refused(place, f"^first: url: it was begun with the database {first}, and url names {other}")
    assert error.hint.endswith("begin the silo again: drop its schema first, and remove its state folder silos/first.")
    place.silos[0] = begun + 'exclude = ["item"]'
    refused(place, "^first: exclude: it was begun with item, and exclude has another 'item'")
    assert place.rows("SELECT * FROM first.item ORDER BY id") == [(1, 1), (2, 2)]


@pytest.mark.slow
def test_two_silos_do_not_exchange_their_names(make_place: MakePlace, mariadb: MariaDB, mysql: MySQL) -> None:
    place, server = make_place("duckdb"), mysql
    place.add("first", mariadb, shop(mariadb))
    place.add("second", server, shop(server, "(7, 7)"))
    place.converge()
    one, two = place.silos
    place.silos = [one.replace('"first"', '"second"'), two.replace('"second"', '"first"')]
    refused(place, "^second: ")
    assert place.rows("SELECT * FROM first.item ORDER BY id") == [(1, 1), (2, 2)]
    assert place.rows("SELECT * FROM second.item") == [(7, 7)]


def test_a_silo_does_not_become_one_of_another_kind(make_place: MakePlace, mariadb: MariaDB) -> None:
    place, database = make_place("duckdb"), shop(mariadb)
    place.add("first", mariadb, database)
    place.converge()
    [of_rows] = place.silos
    place.silos = [ITEMS]
    place.write()
    for ask in (place.check, place.converge):
        with pytest.raises(StateError, match=r"begun as a silo of a MySQL or MariaDB database.*\n?.*drop its schema"):
            ask()
    shutil.rmtree(place.folder / ".whimbrel")
    place.file.unlink()
    project = load_project(place.project)
    with ItemSiloRun(project, project.item_silos[0], made_engine(place), Progress(), threading.Event()):
        pass  # taken, before anything is asked of DynamoDB
    place.silos = [of_rows]
    refused(place, "^first: .*begun as a silo of DynamoDB tables", StateError)


@pytest.mark.slow
def test_what_the_project_file_no_longer_has_is_named(
    place: Place, mariadb: MariaDB, caplog: pytest.LogCaptureFixture
) -> None:
    place.more = '[[report]]\nname = "old"\nsql = "SELECT 1 AS one"\n'
    place.add("first", mariadb, shop(mariadb))
    place.add("second", mariadb, shop(mariadb))
    place.converge()
    place.silos.pop()
    place.more = place.more.replace('"old"', '"new"')
    place.write()
    for ask in (place.check, place.converge):
        caplog.clear()
        with caplog.at_level(logging.WARNING, NAME):
            ask()
        assert "second: the warehouse has this silo, and the project file has not: its tables stay as they are" in (
            caplog.messages
        )
    assert any("reports.old: no [[report]]" in each for each in caplog.messages)
    assert place.rows("SELECT COUNT(*) FROM second.item") == [(2,)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_a_table_that_comes_while_it_is_followed_is_named_once(
    make_place: MakePlace, request: pytest.FixtureRequest, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server: SqlServer = request.getfixturevalue(name)
    place, database = make_place("duckdb"), shop(server)
    place.more = "batch_seconds = 0.1"
    place.add("first", server, database)
    place.converge()
    said = "first: fresh came after it was begun, and is not carried: write another [[silo]]"
    with caplog.at_level(logging.WARNING, NAME), following(place) as thread:
        server.execute("INSERT INTO item VALUES (3, 3)", database=database)
        until(lambda: place.rows("SELECT COUNT(*) FROM first.item") == [(3,)], thread)
        server.execute("CREATE TABLE fresh (id INT PRIMARY KEY)", database=database)
        until(lambda: said in caplog.messages, thread)
        server.execute("CREATE TABLE more (id INT PRIMARY KEY)", database=database)
        until(lambda: said.replace("fresh", "more") in caplog.messages, thread)
    assert caplog.messages.count(said) == 1
