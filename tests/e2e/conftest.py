from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import whimbrel.migration.apply
from demo.servers import DynamoServer, MariaDB, Ministack, ServerUnavailable, SqlServer
from tests.conftest import unique
from tests.e2e.pair import KINDS, NUMBERED, Pair, Shop
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


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    kind, options = KINDS[request.param]
    with ExitStack() as stack:
        try:
            servers = [
                kind(tmp_path / f"{name}{number}", options=options, server_id=number) for name, number in NUMBERED
            ]
        except ServerUnavailable as reason:
            pytest.skip(str(reason))
        servers[1].password = servers[0].password  # replicas have the accounts of their primaries
        for server in servers:
            stack.enter_context(server)
        made = Pair(*servers)
        made.replicate()
        yield made


@pytest.fixture
def shop(make_work: MakeWork, pair: Pair, ministack: Ministack) -> Shop:
    return Shop(make_work, pair, ministack)


@pytest.fixture(params=["one batch", "batches of one"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Changes folded together in one batch, or each in a batch of its own."""
    if request.param == "batches of one":
        monkeypatch.setattr(whimbrel.migration.apply, "FIRST_BATCH", 1)
        monkeypatch.setattr(whimbrel.migration.apply, "LARGEST_BATCH", 1)
    return str(request.param)
