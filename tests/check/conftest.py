from __future__ import annotations

from pathlib import Path

import pytest

from demo.servers import MariaDB, Ministack, MySQL, SqlServer
from tests.check.case import Case


@pytest.fixture
def case(source_server: SqlServer, database: str, ministack: Ministack, tmp_path: Path) -> Case:
    """On MariaDB, then on MySQL."""
    return Case(tmp_path, source_server, database, ministack)


@pytest.fixture
def on_mariadb(mariadb: MariaDB, ministack: Ministack, tmp_path: Path) -> Case:
    return Case(tmp_path, mariadb, mariadb.new_database(), ministack)


@pytest.fixture
def on_mysql(mysql: MySQL, ministack: Ministack, tmp_path: Path) -> Case:
    return Case(tmp_path, mysql, mysql.new_database(), ministack)
