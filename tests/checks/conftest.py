from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB, MariaDB118, Ministack, MySQL, SqlServer
from tests.checks.case import Case
from tests.conftest import SOURCES, started

# check reads the server's recent binlog, and other tests write what it warns of: it has servers of its own, and each
# test a binlog of its own, which is short.


@pytest.fixture(scope="package")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    yield from started(MariaDB, tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="package")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySQL]:
    yield from started(MySQL, tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="package", name="mariadb-11.8")
def mariadb_11_8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB118]:
    yield from started(MariaDB118, tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="package", params=list(SOURCES))
def source_server(request: pytest.FixtureRequest) -> SqlServer:
    server: SqlServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def case(source_server: SqlServer, database: str, ministack: Ministack, tmp_path: Path) -> Case:
    """On each of SOURCES in turn."""
    forget_binlog(source_server)
    return Case(tmp_path, source_server, database, ministack)


@pytest.fixture
def on_mariadb(mariadb: MariaDB, ministack: Ministack, tmp_path: Path) -> Case:
    forget_binlog(mariadb)
    return Case(tmp_path, mariadb, mariadb.new_database(), ministack)


@pytest.fixture
def on_mysql(mysql: MySQL, ministack: Ministack, tmp_path: Path) -> Case:
    forget_binlog(mysql)
    return Case(tmp_path, mysql, mysql.new_database(), ministack)


def forget_binlog(server: SqlServer) -> None:
    server.execute("RESET BINARY LOGS AND GTIDS" if server.flavor == "mysql" else "RESET MASTER")
