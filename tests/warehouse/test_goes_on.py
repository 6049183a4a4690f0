"""``check`` says of a silo that was begun what ``converge`` would say: whether its source is still the one that was
followed, or one that continues it. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from tests.e2e.pair import KINDS, NUMBERED, Pair
from tests.warehouse.places import Place, assert_same
from whimbrel.errors import PositionLost, StateError, WhimbrelError

pytestmark = pytest.mark.slow
MakePlace = Callable[[str], Place]
BEGIN_AGAIN = "the silo again: drop its schema shop"


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    kind, options = KINDS[request.param]
    folder = tmp_path_factory.mktemp("pair")
    primary, replica = (kind(folder / name, options=options, server_id=number) for name, number in NUMBERED)
    replica.password = primary.password  # replicas have the accounts of their primaries
    with primary.start(), replica.start():
        found = Pair(primary, replica)
        found.replicate()
        yield found


def begun(place: Place, server: SqlServer) -> str:
    """A silo that was followed, with changes of it captured."""
    database = server.new_database()
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", database=database)
    place.add("shop", server, database)
    place.converge()
    server.execute("INSERT INTO t VALUES (3)", database=database)
    place.converge()
    return database


def point(place: Place, server: SqlServer, database: str) -> None:
    """The project's URL leads to this server, which has such a database."""
    place.silos.clear()
    place.add("shop", server, database)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def both_say(place: Place, message: str, kind: type[WhimbrelError]) -> None:
    before = files(place.folder / ".whimbrel" / "silos")
    for ask in (place.check, place.converge):
        with pytest.raises(kind, match=message) as found:
            ask()
        assert str(found.value).startswith("shop: ")
        assert BEGIN_AGAIN in found.value.hint
        if ask == place.check:
            assert files(place.folder / ".whimbrel" / "silos") == before
    assert place.rows("SELECT id FROM shop.t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_replica_that_is_behind_is_named(make_place: MakePlace, pair: Pair) -> None:
    """Its history is shorter than what was captured."""
    place, server = make_place("duckdb"), pair.primary
    database = begun(place, server)
    pair.wait()
    pair.stop_replication()
    try:
        server.execute("DELETE FROM t WHERE id = 3", "INSERT INTO t VALUES (3)", database=database)
        place.converge()
        point(place, pair.replica, database)
        both_say(place, "never got", PositionLost)
    finally:
        pair.replica.execute("START SLAVE" if pair.mariadb else "START REPLICA")


def test_another_server_with_tables_of_these_names_is_named(make_place: MakePlace, pair: Pair, tmp_path: Path) -> None:
    place = make_place("duckdb")
    database = begun(place, pair.primary)
    with type(pair.primary)(tmp_path / "other", server_id=77).start() as other:
        other.execute(f"CREATE DATABASE {database}")
        other.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (9)", database=database)
        point(place, other, database)
        both_say(place, "never got", PositionLost)


def test_a_replica_that_took_over_is_followed(make_place: MakePlace, pair: Pair) -> None:
    """The last one with this pair: what a replica wrote itself, its primary never has."""
    place = make_place("duckdb")
    database = begun(place, pair.primary)
    pair.primary.execute("INSERT INTO t VALUES (4)", database=database)
    pair.wait()
    point(place, pair.replica, database)
    place.check()
    pair.replica.execute("INSERT INTO t VALUES (5)", database=database)
    place.check()
    place.converge()
    assert_same(place, "shop.t", pair.replica, database, "t", "*")
    assert place.verify().equal


def test_a_server_of_another_kind_is_named(make_place: MakePlace, mariadb: MariaDB, mysql: MySQL) -> None:
    place = make_place("duckdb")
    database = begun(place, mariadb)
    mysql.execute(f"CREATE DATABASE {database}")
    mysql.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    point(place, mysql, database)
    both_say(place, "it is of another kind", StateError)


@pytest.mark.parametrize("grown", [0, 60])
def test_a_binlog_that_was_reset_is_named(make_place: MakePlace, source_server: SqlServer, grown: int) -> None:
    """Also where it has grown beyond the place that was captured."""
    place = make_place("duckdb")
    source_server.execute("RESET MASTER" if source_server.flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS")
    database = begun(place, source_server)
    source_server.execute("RESET MASTER" if source_server.flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS")
    with source_server.connect(database) as connection, connection.cursor() as cursor:
        for number in range(10, 10 + grown):
            cursor.execute("INSERT INTO t VALUES (%s)", (number,))
    both_say(place, "it was reset", PositionLost)
