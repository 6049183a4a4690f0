"""SIGINT and SIGTERM in every phase, whatever is waited for: the process ends within ENDS_WITHIN, with exit code 130,
and the same command goes on to the right end.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from demo.servers import Ministack, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e.conftest import MakeWork
from tests.e2e.waits import MIGRATE, WAITS, Stage
from tests.e2e.work import GROUP
from tests.faults import FaultProxy

ENDS_WITHIN = 10.0  # seconds
AT_ONCE = 2.0  # after the second signal
ROWS = 300


@pytest.fixture
def stage(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Iterator[Stage]:
    with FaultProxy(ministack.endpoint) as proxy:
        work = make_work(source_server, ministack, mapping=GROUP, endpoint_url=proxy.endpoint)
        stage = Stage(work, proxy)
        stage.set()
        fill(source_server, work.database, ROWS)
        yield stage


FAST = {("the_source_accepts_and_never_answers", "mariadb")}


@pytest.mark.parametrize(
    ("name", "source_server"),
    [
        pytest.param(name, server, marks=() if (name, server) in FAST else pytest.mark.slow)
        for name in WAITS
        for server in ("mariadb", "mysql")
        if (name, server) != ("the_start_waits_for_a_commit", "mysql")  # it does not, and says so at the XA COMMIT
    ],
    indirect=["source_server"],
)
def test_a_signal_ends_it(stage: Stage, name: str) -> None:
    number = signal.SIGINT if len(name) % 2 else signal.SIGTERM
    with WAITS[name](stage) as process:
        took, said = ended(process, number)
    assert process.returncode == 130, said
    assert took < ENDS_WITHIN, f"{took:.1f} s: {said}"
    assert "Traceback" not in said
    goes_on(stage)


@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_a_second_signal_ends_it_at_once(stage: Stage) -> None:
    with WAITS["the_target_never_answers_in_the_load"](stage) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        took, said = ended(process, signal.SIGTERM)
    assert process.returncode == 130, said
    assert took < AT_ONCE
    assert "the same command continues" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_a_signal_at_any_moment(stage: Stage) -> None:
    """Also between two bytecodes within the lock of the very event that the signal sets."""
    work = stage.work
    work.call("capture", "--until-caught-up")
    for number in range(40):
        with stage.running("capture") as process:
            stage.be_at_work(process)
            time.sleep(0.01 * (number % 20))  # the moment
            took, said = ended(process, signal.SIGTERM)
        assert process.returncode == 130, said
        assert took < ENDS_WITHIN, said


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[float, str]:
    """How long it took to end after the signal, in seconds, and what was said."""
    began = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
    took = time.monotonic() - began
    out, err = process.communicate()
    return took, f"{out}\n{err}"


def goes_on(stage: Stage) -> None:
    work = stage.work
    stage.set()
    with ExitStack() as stack:
        writer = LiveWriter(work.source, work.database, orders=ROWS // 4, rate=50)
        writer.start()
        stack.callback(writer.stop)
        work.call(*MIGRATE)
    work.call(*MIGRATE)
    if work.mapping == GROUP:
        work.assert_nothing_lost()
    else:
        assert work.verify()["rows"] > 0
