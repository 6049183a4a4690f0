"""What a crash, a damaged disk and a second process do to the log."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.changelog.histories import append, entries, read_all, transaction, transactions
from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter, LogPoint
from whimbrel.changelog.segments import prune, segment_path, segments
from whimbrel.errors import LogCorrupt, LogGone, StateError
from whimbrel.records import Change, Commit

WHOLE = transactions(range(1, 6))
LAST = transaction(6, changes=3)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose last transaction is in the file but was never reported durable: the mark stands before it."""
    folder = tmp_path_factory.mktemp("crashed")
    with ChangeLogWriter(folder) as writer:
        append(writer, WHOLE)
        writer.sync()
        mark = (folder / "durable").read_bytes()
        append(writer, [LAST])
    (folder / "durable").write_bytes(mark)
    return folder


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three segments that was closed in order: all of it is durable."""
    folder = tmp_path_factory.mktemp("synced")
    with ChangeLogWriter(folder, segment_bytes=3000) as writer:
        append(writer, transactions(range(1, 12)))
    assert len(segments(folder)) == 3
    return folder


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


def length_of_last(folder: Path) -> int:
    mark = int((folder / "durable").read_bytes().split(b'"offset":')[1].split(b",")[0])
    return segment_path(folder, 1).stat().st_size - mark


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_a_tail_torn_at_any_byte_is_cut_at_the_last_whole_transaction(crashed: Path, tmp_path: Path) -> None:
    whole = segment_path(crashed, 1).read_bytes()
    for cut in range(length_of_last(crashed) + 1):
        folder = copy(crashed, tmp_path / "log")
        os.truncate(segment_path(folder, 1), len(whole) - cut)
        kept = [*WHOLE, LAST] if cut == 0 else WHOLE
        with ChangeLogWriter(folder) as writer:
            assert writer.last == kept[-1][1]
            assert read_all(folder) == entries(kept)
            append(writer, [transaction(7)])
        assert read_all(folder) == entries([*kept, transaction(7)])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), garbage=st.binary(max_size=5000) | st.integers(1, 9000).map(bytes))
def test_whatever_stands_in_the_torn_tail_is_cut(crashed: Path, tmp_path: Path, cut: float, garbage: bytes) -> None:
    # A power cut may leave blocks of zeros, or of anything, where the end of the file was being written.
    folder = copy(crashed, tmp_path / "log")
    path = segment_path(folder, 1)
    length = length_of_last(folder)
    os.truncate(path, path.stat().st_size - 19 - int(cut * (length - 19)))
    with path.open("ab") as file:
        file.write(garbage)
    with ChangeLogWriter(folder) as writer:
        assert writer.last == WHOLE[-1][1]
        append(writer, [LAST])
    assert read_all(folder) == entries([*WHOLE, LAST])


def test_before_a_writer_has_cut_the_torn_tail_a_reader_stops_before_it(crashed: Path, tmp_path: Path) -> None:
    folder = copy(crashed, tmp_path / "log")
    path = segment_path(folder, 1)
    os.truncate(path, path.stat().st_size - 5)
    with ChangeLogReader(folder, None) as reader:
        assert reader.read(1000) == entries(WHOLE)
        assert reader.read(1000) == []
        with ChangeLogWriter(folder) as writer:
            append(writer, [transaction(8)])
        assert reader.read(1000) == entries([transaction(8)])


def test_a_reader_may_stand_beyond_a_mark_that_lags_after_a_power_cut(crashed: Path, tmp_path: Path) -> None:
    folder = copy(crashed, tmp_path / "log")
    end = LogPoint(1, segment_path(folder, 1).stat().st_size)
    with ChangeLogReader(folder, end) as reader:
        assert reader.read(10) == []
        with ChangeLogWriter(folder) as writer:
            append(writer, [transaction(8)])
        assert reader.read(10) == entries([transaction(8)])


def everything(folder: Path) -> None:
    ChangeLogWriter(folder).close()
    read_all(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.log")}


def refused(folder: Path) -> str:
    """Reading and opening both end in an error that names the place, and cut nothing; the error."""
    before = contents(folder)
    with pytest.raises((LogCorrupt, LogGone)) as error:
        everything(folder)
    assert contents(folder) == before
    assert error.value.place
    assert error.value.hint
    return str(error.value)


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_a_flipped_byte_anywhere_in_what_was_durable_is_corruption(synced: Path, tmp_path: Path) -> None:
    choose = random.Random(5)
    for number in segments(synced):
        size = segment_path(synced, number).stat().st_size
        for offset in (0, size - 1, *choose.sample(range(size), 120)):
            folder = copy(synced, tmp_path / "log")
            path = segment_path(folder, number)
            data = bytearray(path.read_bytes())
            data[offset] ^= 1 << choose.randrange(8)
            path.write_bytes(data)
            error = refused(folder)
            assert str(path) in error
            assert " at " in error


def test_the_place_of_the_damage_is_named(synced: Path, tmp_path: Path) -> None:
    folder = copy(synced, tmp_path / "log")
    path = segment_path(folder, 2)
    data = bytearray(path.read_bytes())
    at = data.index(b'{"type":"Commit"')
    data[at + 20] ^= 1
    path.write_bytes(data)
    assert f"{path} at {at}" in refused(folder)


def test_a_bad_line_before_whole_transactions_is_corruption_also_after_the_mark(crashed: Path, tmp_path: Path) -> None:
    folder = copy(crashed, tmp_path / "log")
    path = segment_path(folder, 1)
    at = path.stat().st_size - length_of_last(folder)
    (folder / "durable").unlink()
    data = bytearray(path.read_bytes())
    data[at - 30] ^= 1
    path.write_bytes(data)
    assert "whole transactions after" in refused(folder)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_durable_part_that_is_missing_is_corruption(synced: Path, tmp_path: Path, number: int, kept: float) -> None:
    folder = copy(synced, tmp_path / "log")
    path = segment_path(folder, number)
    os.truncate(path, int(path.stat().st_size * kept))
    assert str(path) in refused(folder)


@pytest.mark.parametrize("number", [2, 3])
def test_a_missing_segment_is_corruption(synced: Path, tmp_path: Path, number: int) -> None:
    folder = copy(synced, tmp_path / "log")
    segment_path(folder, number).unlink()
    refused(folder)


def test_all_segments_missing_is_corruption(synced: Path, tmp_path: Path) -> None:
    folder = copy(synced, tmp_path / "log")
    for path in folder.glob("*.log"):
        path.unlink()
    refused(folder)


def drop_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[next(i for i, line in enumerate(lines) if b'"row"' in line)]
    return b"".join(lines)


def drop_transaction(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if line.startswith(b'{"type":"Commit"')]
    return b"".join(lines[: ends[0] + 1] + lines[ends[1] + 1 :])


@pytest.mark.parametrize("damage", [drop_line, drop_transaction])
@pytest.mark.parametrize("number", [1, 3])
def test_missing_lines_are_noticed_though_every_line_is_sound(
    synced: Path, tmp_path: Path, number: int, damage: Callable[[bytes], bytes]
) -> None:
    folder = copy(synced, tmp_path / "log")
    path = segment_path(folder, number)
    path.write_bytes(damage(path.read_bytes()))
    refused(folder)
    with pytest.raises(LogCorrupt):
        read_all(folder)


def test_a_log_of_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("whimbrel.changelog.record.FORMAT", 2)
        ChangeLogWriter(tmp_path).close()
    with pytest.raises(StateError, match="format 2; this version reads format 1"):
        ChangeLogWriter(tmp_path)
    with pytest.raises(StateError, match="format 2"):
        ChangeLogReader(tmp_path, None)


WRITING = """
import sys
from pathlib import Path
from tests.changelog.histories import append, transaction
from whimbrel.changelog.files import ChangeLogWriter
writer = ChangeLogWriter(Path(sys.argv[1]), segment_bytes=20_000)
number = int(writer.last.position.gtid.rpartition("-")[2]) if writer.last else 0
while True:
    number += 1
    append(writer, [transaction(number, changes=number % 50)])
    if number % 3 == 0:
        writer.sync()
        print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    choose = random.Random()
    reported = 0
    for _ in range(12):
        writing = subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writing.stdout is not None
        for _ in range(choose.randrange(1, 40)):
            reported = int(writing.stdout.readline())
        writing.send_signal(signal.SIGKILL)
        for line in writing.stdout.read().splitlines(keepends=True):
            reported = int(line) if line.endswith("\n") else reported
        writing.wait()
        writing.stdout.close()
        with ChangeLogWriter(tmp_path) as writer:
            assert writer.last is not None
            done = int(writer.last.position.gtid.rpartition("-")[2])
        assert done >= reported
        reported = done
    expected = entries(transaction(number, changes=number % 50) for number in range(1, reported + 1))
    assert read_all(tmp_path, limit=1000) == expected


FOLLOWED = """
import sys
from pathlib import Path
from tests.changelog.histories import append, transaction
from whimbrel.changelog.files import ChangeLogWriter
writer = ChangeLogWriter(Path(sys.argv[1]), segment_bytes=10_000)
for number in range(1, 701):
    append(writer, [transaction(number, changes=number % 20)])
    if number % 7 == 0:
        writer.sync()
writer.close()
"""


def test_another_process_follows_over_rotation_and_pruning(tmp_path: Path) -> None:
    writing = subprocess.Popen([sys.executable, "-c", FOLLOWED, str(tmp_path)])
    reader, found, most = ChangeLogReader(tmp_path, None), 0, 0
    expected = iter(entries(transaction(number, changes=number % 20) for number in range(1, 701)))
    last: Change | Commit | None = None
    while last != transaction(700)[1]:
        running = writing.poll() is None
        some = reader.read(500)
        assert some or running
        for last in some:
            assert last == next(expected)
        found += len(some)
        if found > 1500 and reader.point is not None:  # as after a restart: go on from the point
            if not isinstance(last, Commit):
                continue
            point, found = reader.point, 0
            reader.close()
            most = max(most, len(segments(tmp_path)))
            prune(tmp_path, point)
            reader = ChangeLogReader(tmp_path, point)
    assert writing.wait() == 0
    assert next(expected, None) is None
    assert reader.point is not None
    assert segments(tmp_path)[0] > 1
    reader.close()
