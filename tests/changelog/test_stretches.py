"""Stretches of the log: one reader passes over them, others read them, and together they are the whole log once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.changelog.histories import PURCHASE, Transaction, append, read_all, transaction
from whimbrel.changelog import reader as reading
from whimbrel.changelog import stretch as passing
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter, LogPoint
from whimbrel.changelog.segments import segment_path
from whimbrel.changelog.stretch import Stretch
from whimbrel.errors import LogCorrupt, LogGone
from whimbrel.records import Change, Column, Position, Table

WIDER = Table("shop", "purchase", (*PURCHASE.columns, Column("more", "int")), ("id",))
AMPLE = 1 << 30


def history(sizes: list[int], altered: int) -> list[Transaction]:
    """Of so many changes each; from transaction ``altered`` on, the table has one more column."""
    made = [transaction(number, size) for number, size in enumerate(sizes)]
    return [_wider(each) if number >= altered else each for number, each in enumerate(made)]


def _wider(transaction: Transaction) -> Transaction:
    changes, commit = transaction
    return [
        Change(WIDER, None, (number, "x", 7), Position("bin.000001", number)) for number, _ in enumerate(changes)
    ], commit


def stretches(reader: ChangeLogReader, size: int) -> list[Stretch]:
    found = []
    while stretch := reader.pass_over(size):
        found.append(stretch)
    return found


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 3, 40]), max_size=25),
    altered=st.integers(0, 25),
    size=st.sampled_from([300, 1500, 20_000]),
    last=st.sampled_from([100, 400, 1 << 14]),
    block=st.sampled_from([50, 700, 4000]),
    readers=st.integers(1, 3),
    first=st.integers(0, 9),
)
def test_stretches_and_what_is_read_between_them_are_the_log(
    sizes: list[int], altered: int, size: int, last: int, block: int, readers: int, first: int
) -> None:
    """Whatever the blocks, the segments and the transactions are, and wherever a table is altered. What is too large
    for a stretch is read by the reader that passes over the others.
    """
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK", block)
        patch.setattr(passing, "_LAST_LINES", last)
        folder = Path(name)
        with ChangeLogWriter(folder, segment_bytes=3000) as log:
            append(log, history(sizes, altered))
        whole = read_all(folder)
        others = [ChangeLogReader(folder, None) for _ in range(readers)]
        with ChangeLogReader(folder, None) as one:
            entries, passed, more = one.read(first), 0, True
            while more:
                if stretch := one.pass_over(size):
                    part = others[passed % readers].read_stretch(stretch)
                    assert stretch.commit == part[-1]
                    assert stretch.total - stretch.before == sum(isinstance(each, Change) for each in part)
                    assert one.total == one.handed_out == stretch.total
                    passed += 1
                else:
                    part = one.read(7)
                entries += part
                more = bool(part)
            end = one.point
        for other in others:
            other.close()
        assert entries == whole
        if whole:
            with ChangeLogReader(folder, end) as after:
                assert after.read(10) == []
                assert after.total == sum(isinstance(each, Change) for each in whole)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with ChangeLogWriter(tmp_path, segment_bytes=3000) as writer:
        append(writer, history([5] * 20, 99))
    return tmp_path


def test_none_begins_or_ends_within_a_transaction(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        assert reader.pass_over(200) is None  # less than the first has
        reader.read(2)
        assert reader.pass_over(AMPLE) is None
        reader.read(3)
        assert reader.pass_over(AMPLE) is None  # its Commit is still to come
        reader.read(1)
        assert reader.pass_over(AMPLE)


def test_a_stretch_of_a_damaged_log_is_refused(log: Path) -> None:
    path = segment_path(log, 1)
    text = path.read_bytes()
    at = text.index(b'"id":') + 5
    path.write_bytes(text[:at] + b"7" + text[at + 1 :])
    with ChangeLogReader(log, None) as reader:
        found = stretches(reader, 2000)  # which does not look at it
    with ChangeLogReader(log, None) as reader, pytest.raises(LogCorrupt, match="checksum"):
        reader.read_stretch(found[0])


def test_a_stretch_that_ends_with_a_damaged_commit_is_refused(log: Path) -> None:
    path = segment_path(log, 1)
    path.write_bytes(path.read_bytes().replace(b'"changes":5', b'"changes":4'))
    with ChangeLogReader(log, None) as reader, pytest.raises(LogCorrupt, match="checksum"):
        reader.pass_over(AMPLE)


def test_a_table_line_that_is_damaged_is_noticed_by_who_goes_past_it(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        second = stretches(reader, 2000)[1]
    path = segment_path(log, 1)
    path.write_bytes(path.read_bytes().replace(b'"type":"Table","schema":"shop"', b'"type":"Table","schema":"shap"', 1))
    with ChangeLogReader(log, None) as reader, pytest.raises(LogCorrupt, match="checksum"):
        reader.read_stretch(second)


def test_a_line_that_is_missing_is_noticed(log: Path) -> None:
    path = segment_path(log, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    gone = next(number for number, line in enumerate(lines) if line.startswith(b'{"schema"'))
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    with ChangeLogReader(log, None) as reader, ChangeLogReader(log, None) as other:
        stretch = reader.pass_over(2000)
        assert stretch
        with pytest.raises(LogCorrupt, match="of them"):
            other.read_stretch(stretch)


@pytest.mark.parametrize("wrong", [{"before": 3}, {"total": 2}, {"end": LogPoint(1, 400)}, {"begin": LogPoint(1, 400)}])
def test_a_stretch_that_is_not_as_it_was_passed_over_is_refused(log: Path, wrong: dict[str, Any]) -> None:
    with ChangeLogReader(log, None) as reader:
        stretch = reader.pass_over(2000)
    assert stretch
    with ChangeLogReader(log, None) as reader, pytest.raises(LogCorrupt):
        reader.read_stretch(stretch._replace(**wrong))


def test_nobody_goes_back(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        first, second = stretches(reader, 2000)[:2]
    with ChangeLogReader(log, None) as reader:
        reader.read_stretch(second)
        with pytest.raises(LogCorrupt, match="before what was read"):
            reader.read_stretch(first)


def test_a_segment_that_was_pruned_is_gone(log: Path) -> None:
    with ChangeLogReader(log, None) as reader:
        last = stretches(reader, 4000)[-1]
        assert last.begin.segment > 2
        segment_path(log, last.begin.segment).unlink()
    with ChangeLogReader(log, None) as reader, pytest.raises(LogGone):
        reader.read_stretch(last)
