"""How long the way back remains is never said to be longer than it is."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from whimbrel.handed_over import CLOSING, DECIDED, FINISHED, FOLLOWING, OPEN, Handover
from whimbrel.migration.time_to_return import KEPT, WayBack, read_way_back

HOUR = 3600.0


def opened(ago: float) -> Handover:
    return Handover(step=OPEN, starts={"t": {"shard": "1"}}, closed_at=time.time() - ago)


def say(folder: Path, ago: float, lag: float | None, letters: int = 0) -> None:
    said = {"lag_seconds": lag, "written": 5, "letters": letters, "aside": 0, "pid": 1, "time": time.time() - ago}
    (folder / "reverse.json").write_text(json.dumps(said))


def way(folder: Path, now: Handover) -> WayBack:
    found = read_way_back(folder, now)
    assert found
    return found


def test_nobody_followed_yet(tmp_path: Path) -> None:
    found = way(tmp_path, opened(HOUR))
    assert (round(found.lag_seconds / HOUR, 2), found.following) == (1, False)
    assert round((KEPT - found.remains_seconds) / HOUR, 2) == 1
    assert way(tmp_path, opened(25 * HOUR)).remains_seconds == 0


def test_somebody_follows(tmp_path: Path) -> None:
    say(tmp_path, 1, 0.5, letters=2)
    found = way(tmp_path, opened(30 * HOUR))
    assert found == WayBack(0.5, KEPT - 0.5, following=True, dead_letters=2)
    say(tmp_path, 1, None)  # not known yet
    assert way(tmp_path, opened(30 * HOUR)).remains_seconds == 0


def test_who_followed_has_ended(tmp_path: Path) -> None:
    say(tmp_path, 2 * HOUR, 60)
    found = way(tmp_path, opened(30 * HOUR))
    assert (round(found.lag_seconds), found.following) == (7260, False)


def test_what_was_said_of_an_earlier_cutover_does_not_count(tmp_path: Path) -> None:
    say(tmp_path, 2 * HOUR, 0.1)
    assert round(way(tmp_path, opened(HOUR)).lag_seconds / HOUR, 2) == 1


@pytest.mark.parametrize("step", [FOLLOWING, DECIDED, FINISHED])
def test_where_dynamodb_is_not_open_there_is_none(tmp_path: Path, step: str) -> None:
    assert read_way_back(tmp_path, replace(opened(1), step=step)) is None
    assert read_way_back(tmp_path, replace(opened(1), starts={})) is None
    assert read_way_back(tmp_path, replace(opened(1), step=CLOSING)) is not None
