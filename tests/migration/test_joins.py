"""The order argument of ``migration.joins``, by every schedule of a small history and by random histories: crashes
before any step, batches of any size before and after. And the same with what must not be left out left out.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.migration.joining import LINE, ORDERS, Applying, Crash, Rows, expected
from whimbrel.changelog.record import LogPoint
from whimbrel.errors import StateError
from whimbrel.migration import join_plan, joins
from whimbrel.migration.join_plan import Child, Kept
from whimbrel.migration.joins import Joins
from whimbrel.records import Commit, Row

ORDERS_OF_CHANGES = ("olol", "lool", "ooll", "ollo", "lolo", "lloo")
BATCHES = ((4, 1), (2, 3), (1, 4), (4, 2), (3, 4))  # before the crash and after


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "PORTION", 2)


def history(order: str) -> Rows:
    """Order 1 goes from customer a to b, and to c, and order 2 comes; line 1 changes, and moves to order 2: in the
    order that the letters say.
    """
    rows = Rows()
    steps: dict[str, Iterator[Callable[[], None]]] = {
        "o": iter([lambda: rows.put(ORDERS, (1, "b")), lambda: rows.put(ORDERS, (1, "c"))]),
        "l": iter([lambda: rows.put(LINE, (1, 1, "y", 2)), lambda: rows.put(LINE, (2, 1, "z", 1))]),
    }
    for row in ((1, "a"), (2, "d")):
        rows.put(ORDERS, row)
    for line in ((1, 1, "x", None), (1, 2, "x", 1), (1, 3, "x", 2)):
        rows.put(LINE, line)
    for letter in order:
        next(steps[letter])()
    return rows


def outcomes(folder: Path, orders: int = 2, batches: int = 2) -> Iterator[tuple[str, bool]]:
    """Of orders of the changes, with sizes of batches, a crash before every step: whether it is right.
    What was there before the changes is in the snapshot."""
    for order in ORDERS_OF_CHANGES[:orders]:
        rows = history(order)
        first, log = rows.history[5], rows.changes[5:]
        template = folder / f"{order}-loaded"
        template.mkdir()
        loaded = Applying(template, log)
        loaded.load(first["orders"].values(), first["line"].values())
        for before, after in BATCHES[:batches]:
            for crash_at in count():
                place = folder / "one"
                shutil.copytree(template, place)
                one = Applying(place, log)
                one.targets["shop.line"].items = dict(loaded.targets["shop.line"].items)
                crashed = False
                try:
                    one.run(before, crash_at, save_every=2 if before == 1 else 1)
                except Crash:
                    crashed = True
                try:
                    one.run(after)
                    yield f"{order} {before} {after} {crash_at}", one.held() == expected(rows.rows, "record")
                except StateError as error:
                    yield f"{order} {before} {after} {crash_at}: {error}", False
                shutil.rmtree(place)
                if not crashed:
                    break


def test_schedules_of_a_small_history_give_the_final_rows(tmp_path: Path) -> None:
    found = list(outcomes(tmp_path))
    assert [schedule for schedule, right in found if not right] == []
    assert len(found) > 50


@pytest.mark.slow
def test_every_schedule_of_a_small_history_gives_the_final_rows(tmp_path: Path) -> None:
    found = list(outcomes(tmp_path, len(ORDERS_OF_CHANGES), len(BATCHES)))
    assert [schedule for schedule, right in found if not right] == []
    assert len(found) > 500


def _newest_value_only(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Joins._wait

    def forgetful(self: Joins, number: int, key: bytes, old: bytes | None) -> None:
        for place in [each for each in self._waiting if each[2] == key]:
            self._waiting[place].olds.clear()
        wait(self, number, key, old)

    monkeypatch.setattr(Joins, "_wait", forgetful)


def _only_as_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Joins, "_states", lambda self, version, row, key: [self._joined(version, row, version.by(row))])


def _no_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Joins, "_wait", lambda self, number, key, old: None)


def _the_store_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Joins, "save", lambda self, point, applied, commit: None)
    monkeypatch.setattr(Joins, "agree", lambda self, checkpoints: None)


def _the_store_is_saved_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Applying, "saves_first", True)


def _those_that_wait_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Joins.save

    def forgetful(self: Joins, point: LogPoint, applied: int, commit: Commit) -> None:
        waiting, self._waiting = self._waiting, {}
        save(self, point, applied, commit)
        self._waiting = waiting

    monkeypatch.setattr(Joins, "save", forgetful)


@pytest.mark.parametrize(
    "broken",
    [
        _newest_value_only,
        _only_as_of_now,
        _no_one_waits,
        _the_store_is_not_saved,
        _the_store_is_saved_first,
        _those_that_wait_are_forgotten,
    ],
)
def test_what_must_not_be_left_out(
    broken: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    assert any(not right for _, right in outcomes(tmp_path))


def some_change(chance: random.Random, rows: Rows) -> None:
    table = chance.choice((ORDERS, LINE, LINE))
    key = chance.randrange(1, 4)
    if chance.random() < 0.2:
        rows.delete(table, key)
    elif table is ORDERS:
        rows.put(ORDERS, (key, chance.choice(("a", "b", "c", None))))
    else:
        rows.put(LINE, (chance.choice((1, 2, 3, None)), key, chance.choice("xyz"), chance.choice((1, 2, None))))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["record", "group", "own that fails", "own group that fails"]))
def test_a_snapshot_at_no_one_time_and_crashes_give_the_final_rows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shape: str
) -> None:
    chance = random.Random(seed)
    rows = Rows()
    while len(rows.changes) < 25:
        some_change(chance, rows)
    start = chance.randrange(15)  # what there was before is in the snapshot alone
    one = Applying(tmp_path_factory.mktemp("joins"), rows.changes[start:], shape)
    one.load(*[read(chance, rows, name, start) for name in ("orders", "line")])
    for _ in range(chance.randrange(4)):
        try:
            one.run(chance.choice((1, 2, 5, 25)), chance.randrange(40), save_every=chance.choice((1, 2, 3)))
        except Crash:
            continue
    one.run(chance.choice((1, 3, 25)))
    assert one.held() == expected(rows.rows, shape)


def read(chance: random.Random, rows: Rows, name: str, since: int = 0) -> list[Row]:
    """Each row as it was at a time of its own, after ``since`` changes or later."""
    keys = sorted({key for state in rows.history for key in state[name]})
    found = [chance.choice(rows.history[since:])[name].get(key) for key in keys]
    return [row for row in found if row is not None]


def several_are_right(folder: Path, seed: int) -> bool:
    """Two rules of the lines, of which each is loaded from an export that read each row at another time."""
    chance = random.Random(seed)
    rows = Rows()
    while len(rows.changes) < 25:
        some_change(chance, rows)
    start = chance.randrange(15)  # what there was before is in the snapshot alone
    one = Applying(folder, rows.changes[start:], "several")
    one.load(*[read(chance, rows, name, start) for name in ("orders", "line", "line")])
    for _ in range(chance.randrange(4)):
        with suppress(Crash):
            one.run(chance.choice((1, 2, 5, 25)), chance.randrange(60), save_every=chance.choice((1, 2, 3)))
    one.run(chance.choice((1, 3, 25)))
    return one.is_right(rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_rules_that_are_loaded_from_other_exports_give_the_final_rows(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    assert several_are_right(tmp_path_factory.mktemp("several"), seed)


def _before_images_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = join_plan.plan

    def without(mappings: Any, versions: Any) -> tuple[list[Kept], list[Child]]:
        kept, children = plan(mappings, versions)
        return kept, [child._replace(several=False) for child in children]

    monkeypatch.setattr(joins, "plan", without)


def _the_store_has_the_other_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Joins, "rules", property(lambda self: ["shop.orders", "shop.line#1"]))


@pytest.mark.parametrize("broken", [_before_images_are_not_asked, _the_store_has_the_other_export])
def test_what_must_not_be_left_out_where_there_are_several(
    broken: Callable[[pytest.MonkeyPatch], None],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken(monkeypatch)
    assert not all(several_are_right(tmp_path_factory.mktemp("broken"), seed) for seed in range(200))
