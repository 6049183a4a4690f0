"""The races of the change log and between the snapshot's chunks once more: items are loaded by the tasks of Spark, in
this process, and the changes go through a stream to the function.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.servers import Kinesalite, MariaDB, Ministack
from tests.e2e import test_between_chunks, test_in_the_log
from tests.e2e.conftest import MakeWork
from tests.e2e.test_between_chunks import between_chunks, lines, shop  # noqa: F401
from tests.e2e.work import Work
from tests.function.served import Served
from tests.migration.by_spark import InThisProcess
from whimbrel.function import invocation
from whimbrel.migration import send
from whimbrel.migration.spark import submitted, task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def work(
    make_work: MakeWork,
    mariadb: MariaDB,
    ministack: Ministack,
    kinesalite: Kinesalite,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Work]:
    monkeypatch.setattr(
        submitted, "runner_of", lambda _, submission: InThisProcess(submission, lambda do: do(), seed=1)
    )
    with Served(kinesalite, ministack) as served:
        made = make_work(mariadb, ministack)
        made.target_settings = f'{served.project_lines}[load]\nengine = "spark"\n[spark]\nleast_rows = 0\n'
        made.write_project()
        yield made
        task.forget()
        assert served.invocations > 0


@pytest.fixture(params=["one batch", "batches of one"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Records of many changes, written together; or each change in a record of its own, written alone."""
    if request.param == "batches of one":
        monkeypatch.setattr(send, "BATCH", 1)
        monkeypatch.setattr(invocation, "AT_FIRST", 1)
        monkeypatch.setattr(invocation, "AT_ONCE", 1)
    return str(request.param)


globals().update(
    {
        name: each
        for module in (test_in_the_log, test_between_chunks)
        for name, each in vars(module).items()
        if name.startswith("test_")
    }
)
