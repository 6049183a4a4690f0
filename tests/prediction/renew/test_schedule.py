"""The clock: what is due when, one at a time, made up for once, and not too soon after a failure."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from whimbrel.errors import ProjectError, Stopped, TargetUnreachable
from whimbrel.prediction.renew import schedule
from whimbrel.prediction.renew.schedule import Scheduler, back_off, trigger
from whimbrel.project.renew import RenewalRule

pytest.importorskip("apscheduler", reason="the extra 'predict' is not installed")
NEVER = datetime(2200, 1, 1, tzinfo=UTC)


def rule(name: str = "bank", **settings: Any) -> RenewalRule:
    return RenewalRule(model=name, endpoint=name, **settings)


class EveryMoment:
    """A trigger that is due every ``seconds``, on the beat of ``begin``, but no more than ``times`` times from now."""

    def __init__(self, seconds: float, begin: datetime) -> None:
        self._step, self._begin = timedelta(seconds=seconds), begin

    def get_next_fire_time(self, _previous: None, moment: datetime) -> datetime:
        return self._begin + self._step * -((self._begin - moment) // self._step)


class Ran:
    """Renewals that were run, each with its moment; ends the scheduler after ``most``."""

    def __init__(self, most: int) -> None:
        self.stop = threading.Event()
        self.runs: list[tuple[str, datetime, datetime]] = []
        self.at_once = threading.Lock()
        self.failing: list[BaseException] = []
        self._most = most

    def __call__(self, rule: RenewalRule) -> None:
        assert self.at_once.acquire(blocking=False), "two renewals at once"
        began = datetime.now(UTC)
        threading.Event().wait(0.02)  # longer than the time between two beats: what comes due meanwhile must wait
        self.runs.append((rule.model, began, datetime.now(UTC)))
        self.at_once.release()
        if len(self.runs) == self._most:
            self.stop.set()
        if self.failing:
            raise self.failing.pop(0)


def beat(monkeypatch: pytest.MonkeyPatch, seconds: float, begin: datetime | None = None) -> None:
    monkeypatch.setattr(schedule, "trigger", lambda rule: EveryMoment(seconds, begin or datetime.now(UTC)))


def test_two_models_are_renewed_in_turn_and_never_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    beat(monkeypatch, 0.01)
    ran = Ran(10)
    Scheduler((rule("a"), rule("b")), ran, lambda each: None, ran.stop).run()
    assert {name for name, _, _ in ran.runs} == {"a", "b"}
    assert all(before[2] <= after[1] for before, after in pairwise(ran.runs))


def test_what_was_missed_is_made_up_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    beat(monkeypatch, 3600, now - timedelta(seconds=5))  # each hour; the last five times nobody was there
    ran = Ran(99)
    ended = threading.Timer(0.3, ran.stop.set)
    ended.start()
    Scheduler((rule(),), ran, lambda each: now - timedelta(hours=5), ran.stop).run()
    ended.join()
    assert len(ran.runs) == 1


def test_without_an_earlier_renewal_it_waits_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    beat(monkeypatch, 3600, datetime.now(UTC) - timedelta(seconds=5))
    ran = Ran(99)
    ended = threading.Timer(0.2, ran.stop.set)
    ended.start()
    Scheduler((rule(),), ran, lambda each: None, ran.stop).run()
    ended.join()
    assert ran.runs == []


def test_a_failure_waits_longer_each_time_and_is_forgotten_by_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    beat(monkeypatch, 0.001)
    ran = Ran(4)
    ran.failing = [TargetUnreachable("away"), OSError("disk full")]
    Scheduler((rule(back_off=0.1),), ran, lambda each: None, ran.stop).run()
    waits = [(after[1] - before[2]).total_seconds() for before, after in pairwise(ran.runs)]
    assert 0.1 <= waits[0] < 0.2 <= waits[1]
    assert waits[2] < 0.1


def test_being_stopped_is_no_failure(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    beat(monkeypatch, 0.001)
    ran = Ran(1)
    ran.failing = [Stopped("asked to")]
    Scheduler((rule(),), ran, lambda each: None, ran.stop).run()
    assert len(ran.runs) == 1
    assert not caplog.records


def test_the_back_off_doubles_up_to_a_day() -> None:
    assert [back_off(rule(back_off=300.0), n) for n in (1, 2, 3, 20)] == [300, 600, 1200, 86_400]
    assert back_off(rule(), 5_000) == 86_400


def test_a_renewal_that_ended_in_the_second_of_its_time_is_not_run_again() -> None:
    moment = datetime(2026, 1, 31, 3, tzinfo=UTC)
    scheduler = Scheduler((rule(cron="0 3 * * *"),), lambda each: None, lambda each: moment, threading.Event())
    assert scheduler.due["bank"] == moment + timedelta(days=1)


def test_a_cron_expression_is_in_utc_and_days_have_names() -> None:
    due = trigger(rule(cron="30 4 * * sun")).get_next_fire_time(None, datetime(2026, 1, 28, tzinfo=UTC))
    assert due == datetime(2026, 2, 1, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("daily", "expected 5"),
        ("0 25 * * *", "is not a valid schedule"),
        ("0 3 * * 0", "name the days of the week"),
        ("0 3 * * 1-5", "name the days of the week"),
        ("0 3 1 * mon", "cannot be combined"),
        ("0 3 31 2 *", "no such day"),
    ],
)
def test_what_cron_would_read_otherwise_is_refused(cron: str, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason):
        trigger(rule(cron=cron))
