"""Clocks that are wrong, or jump: how far one side is behind is still known, and nothing is decided by them.

The clock is one that is put into whimbrel's process, of which all of whimbrel's times are; the servers keep theirs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.servers import MariaDB
from tests.e2e.work import Work
from tests.handover.site import StreamsServer
from tests.handover.test_cutover import assert_open, writing
from tests.handover.test_decision import after_the_fence
from tests.handover.test_reverse import new_site, person
from tests.handover.test_way_back import opened, say, way
from whimbrel.migration.time_to_return import KEPT

HOUR = 3600.0
Jump = Callable[[float], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Move this process's clock by so many seconds, from where it is."""
    real, ahead = time.time, [0.0]

    def by(seconds: float) -> None:
        ahead[0] += seconds

    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    return by


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


@pytest.mark.parametrize("wrong", [HOUR, pytest.param(-HOUR, marks=pytest.mark.slow)])
def test_a_wrong_clock_delays_no_cutover(shop: Work, jump: Jump, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """Under an application that never pauses, so that there is always something behind. In the stall it jumps, too."""
    monkeypatch.setattr("whimbrel.handover.cutting.CAUGHT_UP_WITHIN", 20.0)
    monkeypatch.setattr("whimbrel.migration.progress.Progress.caught_up", False)
    jump(wrong)
    after_the_fence(monkeypatch, lambda: jump(-2 * wrong))
    with writing(shop) as application:
        said = cut_here(shop)
        assert 0 < said["stall_ms"] < 20_000
        assert_open(shop, application)


def cut_here(work: Work) -> dict[str, float]:
    """In this process, whose clock it is."""
    found: dict[str, float] = json.loads(work.call("cutover", "--yes", "--json").stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
def test_a_wrong_clock_says_nothing_of_how_far_the_source_is_behind(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, jump: Jump, wrong: float
) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=3)
    starts = site.mark("start")
    jump(wrong)
    reverse = site.reverse(starts)
    for number in range(3):
        site.put(person(number, "changed"))
    site.drain(reverse)
    assert 0 <= reverse.lag_seconds < 30
    jump(wrong)
    assert 0 <= reverse.lag_seconds < 30


def test_the_way_back_is_never_said_to_be_longer_than_it_can_be(tmp_path: Path, jump: Jump) -> None:
    now = replace(opened(HOUR))
    jump(-2 * HOUR)
    assert way(tmp_path, now).remains_seconds == KEPT
    say(tmp_path, -HOUR, 0.5)
    assert way(tmp_path, now).remains_seconds <= KEPT
