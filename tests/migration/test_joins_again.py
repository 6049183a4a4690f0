"""A store of look-ups that is lost and made again: of rows that are newer than the checkpoint, each as of a time of its
own, at any moment, with crashes before any step. And what must not be left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.migration.joining import Applying, Crash, Rows, expected
from tests.migration.test_joins import read, some_change
from whimbrel.mapping.columns import Columns
from whimbrel.migration import joins
from whimbrel.migration.join_plan import Bys, Version
from whimbrel.migration.joins import Joins
from whimbrel.records import Change

SHAPES = ("own", "own group", "own that fails", "own group that fails")


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "PORTION", 2)


def is_right(folder: Path, seed: int, shape: str) -> bool:
    """Whether the items are the rows in the end, of a history by ``seed``."""
    chance = random.Random(seed)
    rows = Rows()
    while len(rows.changes) < 25:
        some_change(chance, rows)
    one = Applying(folder, rows.changes, shape)
    one.load(*[read(chance, rows, name) for name in ("orders", "line")])
    for _ in range(chance.randrange(5)):
        with suppress(Crash):
            one.run(chance.choice((1, 2, 5, 25)), chance.randrange(40), save_every=chance.choice((1, 2, 3)))
        if chance.random() < 0.5:
            one.lose_and_make_again(*[read(chance, rows, name, one.applied) for name in ("orders", "line")])
    one.run(chance.choice((1, 3, 25)))
    return one.held() == expected(rows.rows, shape)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SHAPES))
def test_a_store_that_is_made_again_gives_the_final_rows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shape: str
) -> None:
    assert is_right(tmp_path_factory.mktemp("again"), seed, shape)


def _nothing_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Joins, "filling_again", lambda self, as_of: self._store.filling("again", as_of, []))


def _rows_that_wait_take_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    more = Joins.more

    def without(self: Joins) -> list[Change]:
        return [change._replace(before=None) if change.after else change for change in more(self)]

    monkeypatch.setattr(Joins, "more", without)


def _before_images_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    of_own = Joins._of_own

    def without(self: Joins, change: Change, version: Version, by: Bys, portion: list[Change]) -> None:
        of_own(self, change._replace(before=None) if change.after else change, version, by, portion)

    monkeypatch.setattr(Joins, "_of_own", without)


def _what_fails_had_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Columns, "made_alone", Columns.made)


@pytest.mark.parametrize(
    ("broken", "seed"),
    [
        (_nothing_is_written_again, 260),
        (_rows_that_wait_take_nothing_back, 8),
        (_before_images_say_nothing, 1),
        (_what_fails_had_no_place, 2),
    ],
)
def test_what_must_not_be_left_out(
    broken: Callable[[pytest.MonkeyPatch], None],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``seed`` was the first that showed it when this was written; if not, one of the next does."""
    broken(monkeypatch)
    found = (
        is_right(tmp_path_factory.mktemp("broken"), each, SHAPES[each % len(SHAPES)])
        for each in range(seed, seed + 100)
    )
    assert not all(found)
