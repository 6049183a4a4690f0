from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import DynamoServer, MariaDB, Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work

MakeWork = Callable[..., Work]


@pytest.fixture
def make_work(tmp_path: Path) -> MakeWork:
    """Makes a Work on the given servers, with a new database and a new target table."""

    def make(source: SqlServer, endpoint: DynamoServer, **settings: Any) -> Work:
        work = Work(tmp_path, source, source.new_database(), endpoint, unique("purchase"), **settings)
        work.write_project()
        return work

    return make


@pytest.fixture
def work(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> Work:
    return make_work(mariadb, ministack)
