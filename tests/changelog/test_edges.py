"""The change log at its edges: what is unread, where segments meet, long lines, and what its errors say."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.changelog.histories import PURCHASE, append, entries, read_all, transactions
from tests.changelog.test_totals import add, edit, number_of
from whimbrel.changelog import recover
from whimbrel.changelog.files import _FLUSH_BYTES, ChangeLogReader, ChangeLogWriter, LogPoint
from whimbrel.changelog.segments import lines, mark_path, segment_path, segments
from whimbrel.durable import sealed_json
from whimbrel.errors import LogCorrupt, LogGone, StateError, WhimbrelError
from whimbrel.records import Change, Column, Commit, Position, Table


def written(folder: Path, numbers: range = range(1, 41), segment_bytes: int = 2_000) -> Path:
    with ChangeLogWriter(folder, segment_bytes=segment_bytes) as writer:
        append(writer, transactions(numbers))
    assert len(segments(folder)) > 3
    return folder


def bytes_after(folder: Path, point: LogPoint) -> int:
    sizes = {number: segment_path(folder, number).stat().st_size for number in segments(folder)}
    return sizes[point.segment] - point.offset + sum(size for n, size in sizes.items() if n > point.segment)


def test_what_is_unread_is_exact_at_every_commit(tmp_path: Path) -> None:
    folder = written(tmp_path)
    left = sum(len(changes) for changes, _ in transactions(range(1, 41)))
    with ChangeLogReader(folder, None) as reader:
        unread = reader.unread()
        assert unread.changes == left
        head = len(segment_path(folder, 1).read_bytes().splitlines(keepends=True)[0])
        assert unread.bytes == bytes_after(folder, LogPoint(1, head))
        while some := reader.read(1):
            left -= isinstance(some[0], Change)
            assert reader.unread().changes == left
            if isinstance(some[0], Commit):
                assert reader.point is not None
                assert reader.unread().bytes == bytes_after(folder, reader.point)
        assert reader.unread() == (0, 0)


def test_what_was_taken_is_counted_with_what_of_it_is_of_wide_rows(tmp_path: Path) -> None:
    table = Table("db", "t", (Column("words", "text", type_name="mediumtext"),), ())
    widths = (10, 3_500, 5_000, 100_000, 20)
    with ChangeLogWriter(tmp_path) as writer:
        commit = transactions([4])[0][1]
        writer.append([Change(table, None, ("x" * width,), commit.position) for width in widths])
        writer.commit(commit)
    with ChangeLogReader(tmp_path, None) as reader:
        assert reader.taken == (0, 0)
        for width in widths:
            before = reader.taken
            assert len(reader.read(1)) == 1
            size, wide = reader.taken.bytes - before.bytes, reader.taken.wide - before.wide
            assert width < size < width + 500
            assert wide == (size if width >= 5_000 else 0)


def test_unread_of_a_pruned_log_counts_from_the_first_segment_that_is_there(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with ChangeLogReader(folder, None) as reader:
        while len(segments(folder)) > 2 and reader.read(1):
            if reader.point and reader.point.segment == 3:
                break
        assert reader.point is not None
        with ChangeLogWriter(folder) as writer:
            assert writer.prune(reader.point) == 2
        assert reader.unread().bytes == bytes_after(folder, reader.point)
        assert len(reader.read(1000)) > 1


def test_the_commit_ahead_is_that_of_the_open_transaction(tmp_path: Path) -> None:
    folder = written(tmp_path, segment_bytes=1_500)
    with ChangeLogReader(folder, None) as reader:
        for changes, commit in transactions(range(1, 41)):
            for change in changes:
                assert reader.read(1) == [change]
                assert reader.commit_ahead() == commit
            assert reader.read(1) == [commit]


def test_a_transaction_whose_end_is_cut_off_the_file_has_no_commit_ahead(tmp_path: Path) -> None:
    with ChangeLogWriter(tmp_path) as writer:
        append(writer, transactions([3]))
    with ChangeLogReader(tmp_path, None) as reader:
        assert len(reader.read(1)) == 1
        path = segment_path(tmp_path, 1)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        with pytest.raises(LogCorrupt, match="ends within a transaction"):
            reader.commit_ahead()


@pytest.mark.parametrize("segment", [1, 2])
def test_a_writer_refuses_a_log_whose_segments_do_not_meet(tmp_path: Path, segment: int) -> None:
    folder = written(tmp_path)
    path = segment_path(folder, segment)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"\n"):
        path.write_bytes(damaged)
        with pytest.raises(LogCorrupt, match=f"has {len(damaged)} bytes, but the next one says .* at {len(whole)}"):
            ChangeLogWriter(folder)
    path.write_bytes(whole)
    ChangeLogWriter(folder).close()


def test_a_writer_goes_on_after_the_segments_before_were_pruned(tmp_path: Path) -> None:
    folder = written(tmp_path)
    end = segments(folder)[-1]
    with ChangeLogWriter(folder) as writer:
        assert writer.prune(LogPoint(end, 0)) == end - 1
        assert writer.prune(LogPoint(end, 0)) == 0
    with ChangeLogWriter(folder) as writer:
        append(writer, transactions([41]))
        point = writer.durable
    assert read_all(folder, point) == entries(transactions([41]))


def test_the_last_commit_is_known_where_the_last_segment_has_none_yet(tmp_path: Path) -> None:
    [(changes, commit)] = transactions([4])
    with ChangeLogWriter(tmp_path, segment_bytes=300) as writer:
        append(writer, [(changes, commit)])
        writer.sync()
        writer.append(changes)  # begins the next segment
        total = writer.total
    with ChangeLogWriter(tmp_path) as writer:
        assert segments(tmp_path) == [1, 2]
        assert (writer.last, writer.total) == (commit, total)


def test_a_segment_that_was_begun_early_is_all_that_opening_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = transactions(range(1, 41))
    with ChangeLogWriter(tmp_path) as writer:
        writer.begin_segment()  # of a log that has nothing yet
        append(writer, history[:-1])
        for _ in range(2):
            writer.begin_segment()
        total, last = writer.total, writer.last
    read: list[Path] = []

    def noted(path: Path) -> Iterator[tuple[int, bytes]]:
        read.append(path)
        return lines(path)

    with monkeypatch.context() as patch:
        patch.setattr(recover, "lines", noted)
        with ChangeLogWriter(tmp_path) as writer:
            assert read == [segment_path(tmp_path, 3)]
            assert (writer.total, writer.last) == (total, last)
            append(writer, history[-1:])
    assert read_all(tmp_path, None) == entries(history)
    with ChangeLogWriter(tmp_path) as writer:
        writer.append(history[1][0])
        with pytest.raises(AssertionError, match="between two"):
            writer.begin_segment()


@pytest.mark.parametrize("size", [4_000, 4_096, 9_000, 1 << 20, 3 << 20])
def test_a_log_of_long_lines_is_resumed_at_every_commit(tmp_path: Path, size: int) -> None:
    def long(number: int) -> tuple[list[Change], Commit]:
        gtid = "0-1-" + "7" * size
        change = Change(PURCHASE, None, (number, "x" * size), Position("bin.000001", number))
        return [change], Commit(Position("bin.000001", number + 1, gtid), 1.0)

    history = [long(number) for number in range(0, 6, 2)]
    points: list[LogPoint | None] = [None]
    with ChangeLogWriter(tmp_path) as writer:
        for each in history:
            append(writer, [each])
            writer.sync()
            points.append(writer.durable)
    for number, point in enumerate(points):
        assert read_all(tmp_path, point) == entries(history[number:])


def test_a_definition_after_the_place_of_resuming_is_not_taken_before_it(tmp_path: Path) -> None:
    other = replace(PURCHASE, columns=PURCHASE.columns[:1])
    first = Change(PURCHASE, None, (1, "a"), Position("bin.000001", 1))
    second = Change(other, None, (2,), Position("bin.000001", 3))
    with ChangeLogWriter(tmp_path) as writer:
        append(writer, [([first], Commit(Position("bin.000001", 2), 1.0))])
        point = writer.end
        append(writer, [([first], Commit(Position("bin.000001", 2), 1.0))])
        append(writer, [([second], Commit(Position("bin.000001", 4), 1.0))])
    found = [entry for entry in read_all(tmp_path, point) if isinstance(entry, Change)]
    assert found == [first, second]
    assert [change.table for change in found] == [PURCHASE, other]


def test_a_place_that_is_gone_says_what_is_there(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with ChangeLogWriter(folder) as writer:
        writer.prune(LogPoint(3, 0))
        last = segments(folder)[-1]
    with pytest.raises(LogGone, match=f"segment 1, offset 7: it has segments 3 to {last}"):
        ChangeLogReader(folder, LogPoint(1, 7))
    with pytest.raises(LogGone, match="segment 1, offset 7: it is empty"):
        ChangeLogReader(tmp_path / "empty", LogPoint(1, 7))


def test_a_failed_writer_names_the_file_and_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ChangeLogWriter(tmp_path)
    append(writer, transactions([1]))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        with pytest.raises(StateError) as refused:
            writer.sync()
    assert refused.value.place == str(segment_path(tmp_path, 1))
    assert "No space left on device" in refused.value.message
    assert refused.value.hint.startswith("Free disk space")
    with pytest.raises(StateError) as again:
        writer.append([])
    assert again.value is refused.value
    writer.close()


def test_a_writer_that_could_not_encode_a_change_never_commits_its_transaction(tmp_path: Path) -> None:
    writer = ChangeLogWriter(tmp_path)
    append(writer, transactions([1]))
    writer.sync()
    bad = Change(PURCHASE, None, (object(), "x"), Position("bin.000001", 1))  # type: ignore[arg-type]
    with pytest.raises(WhimbrelError, match="cannot be written exactly"):
        writer.append([bad])
    with pytest.raises(StateError, match="cannot be written") as refused:
        writer.commit(transactions([2])[0][1])
    assert refused.value.place == str(tmp_path)
    writer.close()
    assert read_all(tmp_path) == entries(transactions([1]))


@pytest.mark.parametrize("field", ["changes", "total"])
def test_a_writer_refuses_a_last_transaction_that_does_not_add_up(tmp_path: Path, field: str) -> None:
    with ChangeLogWriter(tmp_path) as writer:
        append(writer, transactions(range(1, 9)))
    path = segment_path(tmp_path, 1)
    edit(path, number_of(path, "Commit", last=True), add(field, 1))
    with pytest.raises(LogCorrupt, match="with whole transactions after them"):
        ChangeLogWriter(tmp_path)


def test_what_was_appended_does_not_stay_in_memory(tmp_path: Path) -> None:
    with ChangeLogWriter(tmp_path, segment_bytes=1 << 40) as writer:
        path = segment_path(tmp_path, 1)
        before = path.stat().st_size
        for number in range(1, 4):
            while path.stat().st_size == before:
                writer.append([Change(PURCHASE, None, (number, "x" * 50_000), Position("bin.000001", number))])
            in_file = path.stat().st_size
            assert in_file - before < 4 * _FLUSH_BYTES
            before = in_file


def test_the_last_commit_is_kept_over_segments_without_one(tmp_path: Path) -> None:
    [(changes, commit)] = transactions([4])
    with ChangeLogWriter(tmp_path, segment_bytes=300) as writer:
        append(writer, [(changes, commit)])
        writer.append(changes)
    for _ in range(2):  # the second time, from the head of a segment that was made after reopening
        with ChangeLogWriter(tmp_path, segment_bytes=1) as writer:
            assert writer.last == commit
            writer.append(changes)


def test_what_is_read_at_once_fits_in_memory_however_wide_the_table_is(tmp_path: Path) -> None:
    wide = Table("shop", "wide", tuple(Column(f"c{number}", "int") for number in range(200)), ("c0",))
    rows = [(number, *range(199)) for number in range(6_000)]
    with ChangeLogWriter(tmp_path) as writer:
        writer.append([Change(wide, None, row, Position("bin.000001", 4)) for row in rows])
        writer.commit(Commit(Position("bin.000001", 5), 0.0))
    with ChangeLogReader(tmp_path, None) as reader:
        batches = list(iter(lambda: reader.read(10_000), []))
    assert [entry.after for batch in batches for entry in batch if isinstance(entry, Change)] == rows
    assert max(map(len, batches)) < 3_000


def test_a_segment_under_the_name_of_another_is_not_read_as_that_one(tmp_path: Path) -> None:
    folder = written(tmp_path)
    shutil.copy(segment_path(folder, 2), segment_path(folder, 3))
    with pytest.raises(LogCorrupt, match="the file holds segment 2"):
        read_all(folder)


def test_a_file_that_is_sound_but_no_segment_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    segment_path(folder, 2).write_bytes(sealed_json({"type": "Durable", "segment": 1}))
    with pytest.raises(LogCorrupt, match="the first line is of type 'Durable', not Segment"):
        read_all(folder)


def test_a_mark_that_is_damaged_stops_the_reader_with_what_to_do(tmp_path: Path) -> None:
    folder = written(tmp_path)
    mark = mark_path(folder)
    mark.write_bytes(mark.read_bytes().replace(b"Durable", b"durable"))
    with pytest.raises(LogCorrupt, match="the mark of what is durable does not match its checksum") as caught:
        read_all(folder)
    assert "Remove this file" in caught.value.hint
    mark.unlink()
    with ChangeLogWriter(folder) as writer:
        assert writer.last == transactions(range(1, 41))[-1][1]


def test_a_change_whose_table_was_never_defined_is_not_guessed(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for number in segments(folder):
        path = segment_path(folder, number)
        path.write_bytes(b"".join(map(of_another_table, path.read_bytes().splitlines(keepends=True))))
    with ChangeLogReader(folder, None) as reader, pytest.raises(LogCorrupt, match="a change without its Table line"):
        reader.read(10)


def of_another_table(line: bytes) -> bytes:
    """A definition with another name, of the same length and with a checksum that is right; any other line as it is."""
    if not line.startswith(b'{"type":"Table",'):
        return line
    fields = without_crc(orjson.loads(line))
    return sealed_json({**fields, "table": fields["table"][::-1]})


def without_crc(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "crc"}


def test_a_log_that_is_closed_takes_nothing_more_and_may_be_closed_again(tmp_path: Path) -> None:
    writer = ChangeLogWriter(tmp_path)
    [(_, commit)] = transactions(range(1, 2))
    writer.close()
    writer.close()
    with pytest.raises(StateError, match="the change log is closed"):
        writer.commit(commit)
    assert read_all(tmp_path) == []


def test_a_disk_that_fails_at_the_end_is_said_and_the_lock_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ChangeLogWriter(tmp_path)
    append(writer, transactions(range(1, 3)))
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", broken_disk)
        with pytest.raises(StateError, match="Input/output error"):
            writer.close()
    with ChangeLogWriter(tmp_path):
        pass


def broken_disk(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
