"""When a cutover closes the source: at a moment when draining is quick, if that comes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from whimbrel.handover import cutting, plan
from whimbrel.handover.cutting import Cutting
from whimbrel.migration.live import write_status
from whimbrel.migration.state import StateFolder
from whimbrel.project import Cutover
from whimbrel.records import Position


class Following:
    """A source that writes a change every millisecond, and an applier that is ``behind`` it by so many seconds; both by
    a clock that moves when somebody looks.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, behind: list[float]) -> None:
        self.now, self._behind = 2_000.0, behind
        self.looked_at: list[float] = []
        monkeypatch.setattr(cutting, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(cutting, "elapsed", lambda since: self.now - since)
        monkeypatch.setattr(cutting, "connect", lambda source: nullcontext())
        monkeypatch.setattr(cutting, "closing", lambda connection: connection)

    def end_of(self, connection: object) -> Position:
        self.looked_at.append(self.now)
        return Position("bin.000001", round(self.now * 1000))

    def applied(self) -> Position:
        behind = self._behind[min(len(self.looked_at), len(self._behind)) - 1]
        return Position("bin.000001", max(0, round((self.now - behind) * 1000)))

    def look(self, seconds: float) -> None:
        self.now += 0.01

    def wait(self, max_stall: float) -> float:
        settings = SimpleNamespace(max_stall=max_stall)
        project = SimpleNamespace(source=None, cutover=settings, stream=None)
        run = SimpleNamespace(lineage=self, prepared=SimpleNamespace(project=project))
        waiting = SimpleNamespace(_run=run, _applied=self.applied, _look=self.look, _settings=settings)
        Cutting._wait_for_a_good_moment(waiting)  # type: ignore[arg-type]
        return self.now - 2_000.0


@pytest.mark.parametrize(
    ("behind", "max_stall", "waited"),
    [
        ([0.1], 2.0, 0.1),
        ([0.8, 0.4, 0.1], 2.0, 1.3),
        ([0.2], 20.0, 0.2),
        ([0.4], 20.0, cutting.GOOD_MOMENT_WITHIN),
        ([0.15], 1.0, cutting.GOOD_MOMENT_WITHIN),  # it does not come
        ([1_000.0], 2.0, cutting.GOOD_MOMENT_WITHIN),  # nor does the end of the first try
    ],
)
def test_it_waits_for_a_quick_drain_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, behind: list[float], max_stall: float, waited: float
) -> None:
    assert Following(monkeypatch, behind).wait(max_stall) == pytest.approx(waited, abs=0.4 if waited > 2 else 0.05)


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        (None, 0.05),  # nobody follows
        ({"applied_per_second": 0.0, "lag_changes": 0}, 0.05),
        ({"applied_per_second": 1_000.0, "lag_changes": 10}, 0.05),
        ({"applied_per_second": 1_000.0, "lag_changes": 120}, 0.12),
        ({"applied_per_second": 1_000.0, "lag_changes": 5_000}, 0.2),  # it will wait for less
    ],
)
def test_the_plan_expects_a_drain_by_the_lag_of_now(
    tmp_path: Path, status: dict[str, float] | None, seconds: float
) -> None:
    if status:
        write_status(StateFolder(tmp_path).status, status)
    project = SimpleNamespace(state=tmp_path, cutover=Cutover(), stream=None)
    assert plan._drain_seconds(project) == pytest.approx(seconds)  # type: ignore[arg-type]
