"""The log in ordinary use: segments, positions, pruning, locking, and a disk that is full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.changelog.histories import PURCHASE, append, entries, read_all, transaction, transactions
from tests.closed import every_file_closed, open_below
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter, LogPoint, Unread
from whimbrel.changelog.segments import segment_path, segments
from whimbrel.errors import Locked, LogGone, StateError
from whimbrel.records import Change, Column, Commit, Position


def without_gtid(entry: Change | Commit) -> Change | Commit:
    return entry._replace(position=entry.position._replace(gtid="")) if isinstance(entry, Change) else entry


def drain(reader: ChangeLogReader) -> None:
    while reader.read(10):
        pass


def test_a_new_log_is_empty_and_can_be_read_before_it_exists(tmp_path: Path) -> None:
    reader = ChangeLogReader(tmp_path / "log", None)
    assert reader.read(10) == []
    assert reader.unread() == Unread(0, 0)
    with ChangeLogWriter(tmp_path / "log") as writer:
        assert writer.last is None
        assert reader.read(10) == []
        append(writer, transactions([4]))
        writer.sync()
        assert reader.read(10) == entries(transactions([4]))
        assert reader.point == writer.end
    reader.close()


def test_the_first_read_of_a_log_that_was_just_made_returns_its_entries(tmp_path: Path) -> None:
    with ChangeLogReader(tmp_path / "log", None) as reader, ChangeLogWriter(tmp_path / "log") as writer:
        append(writer, transactions([1, 2]))
        writer.sync()
        assert reader.read(100) == entries(transactions([1, 2]))


def test_only_what_is_synced_can_be_read_and_only_whole_transactions(tmp_path: Path) -> None:
    with ChangeLogWriter(tmp_path) as writer, ChangeLogReader(tmp_path, None) as reader:
        append(writer, transactions([1]))
        assert reader.read(10) == []
        writer.sync()
        assert reader.read(10) == entries(transactions([1]))
        changes, commit = transaction(2)
        writer.append(changes)
        writer.sync()
        assert reader.read(10) == []
        writer.commit(commit)
        assert reader.read(10) == []
        assert writer.durable == reader.point != writer.end
        writer.sync()
        assert reader.read(10) == [*changes, commit]
        assert writer.durable == reader.point == writer.end


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["transaction", "sync", "reopen", "read", "resume", "prune"]), max_size=60),
    segment_bytes=st.sampled_from([1, 700, 3000, 1 << 26]),
    limit=st.integers(1, 9),
)
def test_any_use_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], segment_bytes: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    writer = ChangeLogWriter(folder, segment_bytes=segment_bytes)
    reader = ChangeLogReader(folder, None)
    written: list[Any] = []
    ends: list[LogPoint] = []
    found: list[Any] = []
    for step in steps:
        if step == "transaction":
            written.append(transaction(len(written), changes=len(written) % 4))
            append(writer, written[-1:])
            ends.append(writer.end)
        elif step == "sync":
            writer.sync()
            assert writer.durable == writer.end
        elif step == "reopen":
            writer.close()
            writer = ChangeLogWriter(folder, segment_bytes=segment_bytes)
            assert writer.last == (written[-1][1] if written else None)
            assert writer.durable == writer.end
        elif step == "read":
            found += reader.read(limit)
        elif step == "resume" and reader.point is not None:
            while found and isinstance(found[-1], Change):
                found.pop()
            reader.close()
            reader = ChangeLogReader(folder, reader.point)
        elif step == "prune" and reader.point is not None:
            writer.prune(reader.point)
            assert reader.point.segment in segments(folder)
        synced = [one for one, end in zip(written, ends, strict=True) if end <= writer.durable]
        expected = entries(synced)
        assert found == expected[: len(found)]
        left = expected[len(found) :]
        assert reader.unread().changes == sum(isinstance(entry, Change) for entry in left)
        assert bool(reader.unread().bytes) or not left
    writer.sync()
    while some := reader.read(limit):
        found += some
    assert found == entries(written)
    assert reader.unread().changes == 0
    assert reader.point is None or reader.point == writer.end
    writer.close()
    reader.close()


def test_a_segment_can_be_read_alone(tmp_path: Path) -> None:
    history = transactions(range(30))
    with ChangeLogWriter(tmp_path, segment_bytes=1500) as writer:
        append(writer, history)
    assert len(segments(tmp_path)) > 5
    for number in segments(tmp_path):
        kinds = [orjson.loads(line) for line in segment_path(tmp_path, number).read_bytes().splitlines()]
        assert kinds[0]["type"] == "Segment"
        assert kinds[-1]["type"] == "Commit"
        defined = set()
        for line in kinds[1:]:
            if line["type"] == "Table":
                defined.add(line["table"])
            elif "row" in line:
                assert line["table"] in defined
    assert read_all(tmp_path) == entries(history)


def test_a_changed_definition_is_written_before_its_first_row(tmp_path: Path) -> None:
    wider = replace(PURCHASE, columns=(*PURCHASE.columns, Column("extra", "int")))
    position = Position("bin.000001", 5)
    rows = [Change(PURCHASE, None, (1, "a"), position), Change(wider, None, (2, "b", 7), position)]
    with ChangeLogWriter(tmp_path) as writer:
        writer.append([rows[0], rows[1], rows[0]])
        writer.commit(Commit(position, 1.0))
    with ChangeLogWriter(tmp_path) as writer:
        writer.append([rows[0], rows[1]])
        writer.commit(Commit(position, 2.0))
    found = [entry for entry in read_all(tmp_path) if isinstance(entry, Change)]
    assert [change.table for change in found] == [PURCHASE, wider, PURCHASE, PURCHASE, wider]
    assert found[0].table is found[2].table is found[3].table
    # Reopening remembers which definition was in force.
    assert segment_path(tmp_path, 1).read_bytes().count(b'{"type":"Table"') == 4


def test_resuming_finds_the_definitions_and_the_rest(tmp_path: Path) -> None:
    history = transactions(range(1, 25))
    points = []
    with ChangeLogWriter(tmp_path, segment_bytes=2500) as writer:
        for one in history:
            points.append(writer.end)
            append(writer, [one])
    for done, point in enumerate(points):
        assert read_all(tmp_path, point) == entries(history[done:])


def test_the_gtid_set_is_in_the_commit_only(tmp_path: Path) -> None:
    commit = Commit(Position("bin.000001", 9, "uuid:1-5"), 1.0)
    change = Change(PURCHASE, None, (1, "a"), Position("bin.000001", 5, "uuid:1-5"))
    with ChangeLogWriter(tmp_path) as writer:
        writer.append([change])
        writer.commit(commit)
    assert read_all(tmp_path) == [without_gtid(change), commit]


def test_pruning_removes_only_whole_segments_before_the_point(tmp_path: Path) -> None:
    history = transactions(range(40))
    with ChangeLogWriter(tmp_path, segment_bytes=1500) as writer:
        append(writer, history)
        writer.sync()
        before = segments(tmp_path)
        middle = before[len(before) // 2]
        reader = ChangeLogReader(tmp_path, None)
        reader.read(1)
        assert writer.prune(LogPoint(middle, 200)) == len([number for number in before if number < middle])
        assert segments(tmp_path) == [number for number in before if number >= middle]
        with pytest.raises(LogGone, match="pruned"):
            drain(reader)
        with pytest.raises(LogGone, match="pruned"):
            ChangeLogReader(tmp_path, None)
        with pytest.raises(LogGone, match=f"segments {middle} to"):
            ChangeLogReader(tmp_path, LogPoint(1, 500))
        assert writer.prune(LogPoint(10**6, 0)) == len(segments(tmp_path)) + len(before) - before.index(middle) - 2
        assert segments(tmp_path) == before[-1:]
        reader.close()
    with ChangeLogWriter(tmp_path, segment_bytes=1500) as writer:
        assert writer.last == history[-1][1]
        assert writer.total == sum(len(changes) for changes, _ in history)


@pytest.mark.parametrize("point", [LogPoint(1, 5), LogPoint(1, 10**9), LogPoint(2, 0), LogPoint(0, 0)])
def test_a_point_where_no_transaction_ended_is_refused(tmp_path: Path, point: LogPoint) -> None:
    with ChangeLogWriter(tmp_path) as writer:
        append(writer, transactions([1, 2]))
    with every_file_closed(tmp_path), pytest.raises(LogGone):
        ChangeLogReader(tmp_path, point)


def test_every_offset_but_the_ends_of_transactions_is_refused(tmp_path: Path) -> None:
    ends = set()
    with ChangeLogWriter(tmp_path) as writer:
        ends.add(segment_path(tmp_path, 1).stat().st_size)
        for one in transactions([1, 2]):
            append(writer, [one])
            ends.add(writer.end.offset)
    for offset in range(segment_path(tmp_path, 1).stat().st_size + 3):
        if offset in ends:
            ChangeLogReader(tmp_path, LogPoint(1, offset)).close()
        else:
            with pytest.raises(LogGone):
                ChangeLogReader(tmp_path, LogPoint(1, offset))


def test_two_captures_cannot_write_one_log(tmp_path: Path) -> None:
    with ChangeLogWriter(tmp_path), pytest.raises(Locked, match="another capture"):
        ChangeLogWriter(tmp_path)
    ChangeLogWriter(tmp_path).close()


def test_a_long_transaction_is_read_in_parts_and_long_lines_whole(tmp_path: Path) -> None:
    position = Position("bin.000001", 1)
    long = "x" * (3 << 20)
    rows = [Change(PURCHASE, None, (i, long if i == 5000 else "y" * 100), position) for i in range(20_000)]
    with ChangeLogWriter(tmp_path, segment_bytes=1000) as writer:
        writer.append(rows[:7000])
        writer.append(rows[7000:])
        writer.commit(Commit(position, 1.0))
        append(writer, transactions([1]))
    assert len(segments(tmp_path)) == 2
    with ChangeLogReader(tmp_path, None) as reader:
        assert reader.read(6000) == rows[:6000]
        assert reader.point is None
        rest = []
        while some := reader.read(1000):
            rest += some
    assert rest == [*rows[6000:], Commit(position, 1.0), *entries(transactions([1]))]


FULL = """
import resource, sys
from pathlib import Path
from tests.changelog.histories import append, transactions
from whimbrel.errors import StateError
from whimbrel.changelog.files import ChangeLogWriter
folder = Path(sys.argv[1])
writer = ChangeLogWriter(folder)
append(writer, transactions(range(20)))
writer.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (writer.end.offset + 1000, writer.end.offset + 1000))
for attempt in range(2):
    try:
        append(writer, transactions(range(20, 200)))
        writer.sync()
    except StateError as error:
        print(error)
writer.close()
"""


def test_a_full_disk_is_an_error_and_what_was_durable_stays(tmp_path: Path) -> None:
    # A limit on the file's size fails write() in the kernel just as a full disk does, also half-way through.
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    errors = ended.stdout.splitlines()
    assert len(errors) == 2
    assert errors[0] == errors[1]
    assert "File too large" in errors[0]
    assert "start again" in errors[0]
    assert read_all(tmp_path) == entries(transactions(range(20)))
    with ChangeLogWriter(tmp_path) as writer:
        done = int(str(writer.last.position.gtid).rpartition("-")[2]) if writer.last else -1
        assert done >= 19
        append(writer, transactions(range(done + 1, 40)))
    assert read_all(tmp_path) == entries(transactions(range(40)))


def test_a_closed_or_failed_writer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ChangeLogWriter(tmp_path)
    append(writer, transactions([1]))

    def no_sync(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("os.fdatasync", no_sync)
        with pytest.raises(StateError, match="Input/output error"):
            writer.sync()
    # A failed fsync must never be tried again: the kernel may have dropped the pages, and would then report success.
    with pytest.raises(StateError, match="Input/output error"):
        writer.sync()
    writer.close()
    with pytest.raises(StateError):
        writer.append([])


def test_a_segment_that_cannot_be_opened_leaves_nothing_open_and_closes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, real = ChangeLogWriter(tmp_path), os.open
    append(writer, transactions([1]))

    def refuse(path: Any, *more: Any) -> int:
        if str(path) == str(segment_path(tmp_path, 2)):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(StateError, match="Too many open files"):
            writer.begin_segment()
    others = [real(os.devnull, os.O_RDONLY) for _ in range(3)]  # with the numbers that are free
    writer.close()
    for each in others:
        os.close(each)  # raises if the log closed it
    assert open_below(tmp_path) == []
    assert read_all(tmp_path) == entries(transactions([1]))


def test_a_folder_that_cannot_be_used_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written: Not a directory"):
        ChangeLogWriter(tmp_path / "file" / "log")
    with ChangeLogWriter(tmp_path / "log") as writer:
        append(writer, transactions([1]))
    segment_path(tmp_path / "log", 1).rename(tmp_path / "kept")
    segment_path(tmp_path / "log", 1).mkdir()
    with pytest.raises(StateError, match="cannot be read: Is a directory"):
        ChangeLogReader(tmp_path / "log", None)
