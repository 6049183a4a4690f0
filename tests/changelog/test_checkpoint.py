"""The checkpoint comes back as it was saved, is never half written, and refuses what it cannot understand."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whimbrel.changelog.files import LogPoint
from whimbrel.checkpoint import Checkpoint, TableProgress, from_ranges, load, ranges, save
from whimbrel.errors import StateError
from whimbrel.records import Position

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNTS = st.integers(0, 2**53)
POSITIONS = st.builds(Position, TEXT, COUNTS, TEXT, st.integers(0, 3))
PROGRESS = st.builds(
    TableProgress,
    chunks_planned=st.none() | COUNTS,
    rows_exported=COUNTS,
    loaded=st.frozensets(st.integers(0, 300)),
    rows_loaded=COUNTS,
    items_loaded=COUNTS,
    target_id=TEXT,
    export=TEXT,
)
CHECKPOINTS = st.builds(
    Checkpoint,
    project=TEXT,
    phase=TEXT,
    source=TEXT,
    rules=TEXT,
    values=st.integers(1, 2),
    start=st.none() | POSITIONS,
    tables=st.dictionaries(TEXT, PROGRESS, max_size=3),
    applied=st.none() | st.builds(LogPoint, COUNTS, COUNTS),
    applied_position=st.none() | POSITIONS,
    applied_timestamp=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    counters=st.dictionaries(TEXT, COUNTS, max_size=3),
)
EXAMPLE = Checkpoint(
    project="shop",
    phase="apply",
    source="0-1",
    start=Position("bin.000003", 154, "0-1-7"),
    tables={
        "shop.purchase": TableProgress(
            chunks_planned=60,
            rows_exported=9,
            loaded=frozenset({*range(1, 58), 60}),
            rows_loaded=1010,
            items_loaded=99,
            export="9f0c",
        )
    },
    applied=LogPoint(2, 345),
    applied_position=Position("bin.000004", 99, "0-1-20"),
    applied_timestamp=1_700_000_000.5,
    counters={"dead letters": 3},
)
reuse = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@reuse
@given(CHECKPOINTS)
def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save(tmp_path / "checkpoint.json", checkpoint)
    assert load(tmp_path / "checkpoint.json") == checkpoint
    assert os.listdir(tmp_path) == ["checkpoint.json"]


def test_what_was_done_is_added_to_what_is_known() -> None:
    """And nothing else of it changes, nor the checkpoint that it is added to."""
    planned = Checkpoint(project="shop").with_table("shop.purchase", TableProgress(chunks_planned=60, rows_exported=9))
    assert planned.tables == {"shop.purchase": TableProgress(chunks_planned=60, rows_exported=9)}
    exported = planned.with_table("shop.purchase", replace(planned.table("shop.purchase"), export="9f0c"))
    loaded = (
        exported.with_loaded("shop.purchase", range(1, 58), rows=1000, items=90)
        .with_loaded("shop.purchase", [60], rows=10, items=9)
        .with_loaded("shop.purchase", [60])
    )
    assert exported.table("shop.purchase").loaded == frozenset()
    applied = (
        replace(loaded, phase="apply", source="0-1", start=Position("bin.000003", 154, "0-1-7"))
        .with_applied(LogPoint(2, 345), Position("bin.000004", 99, "0-1-20"), 1_700_000_000.5)
        .with_counted("dead letters", 2)
        .with_counted("dead letters", 1)
    )
    assert applied == EXAMPLE
    assert applied.table("shop.other") == TableProgress()
    other = applied.with_table("shop.other", TableProgress(rows_exported=1)).with_counted("skipped", 0)
    assert other.tables == {**EXAMPLE.tables, "shop.other": TableProgress(rows_exported=1)}
    assert other.counters == {"dead letters": 3, "skipped": 0}
    assert other.with_loaded("shop.new", [1], rows=2, items=3).table("shop.new") == TableProgress(
        loaded=frozenset({1}), rows_loaded=2, items_loaded=3
    )


def test_it_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint.json", EXAMPLE)
    text = (tmp_path / "checkpoint.json").read_text()
    assert '"loaded": "1-57,60"' in text
    fields = json.loads(text)
    assert fields["version"] == 2
    assert fields["start"] == {"file": "bin.000003", "offset": 154, "gtid": "0-1-7"}
    assert fields["applied"] == {"segment": 2, "offset": 345}
    assert fields["counters"] == {"dead letters": 3}
    assert fields["tables"]["shop.purchase"]["rows_loaded"] == 1010
    assert fields["tables"]["shop.purchase"]["items_loaded"] == 99


def test_no_file_is_a_project_that_has_not_begun(tmp_path: Path) -> None:
    assert load(tmp_path / "checkpoint.json") == Checkpoint()
    assert Checkpoint().phase == "new"


@given(st.frozensets(st.integers(0, 500)))
def test_ranges_come_back(numbers: frozenset[int]) -> None:
    assert from_ranges(ranges(numbers)) == numbers


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((7,), "7"), ((1, 2), "1-2"), ((60, 3, 1, 2), "1-3,60"), ((1, 3, 5), "1,3,5")]
)
def test_ranges_are_compact(numbers: tuple[int, ...], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize("text", ["-", "x", "3-1", "1-2-3", "1,,2", "1,1", "1-99999999999", "-5"])
def test_what_is_no_ranges_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="chunk numbers|invalid literal"):  # noqa: RUF043
        from_ranges(text)


@reuse
@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_next_step(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(garbage)
    with pytest.raises(StateError) as error:
        load(path)
    assert error.value.place == str(path)
    assert error.value.hint


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_an_unknown_version_is_refused(tmp_path: Path, version: object) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps({"version": version}))
    with pytest.raises(StateError, match="this version knows versions 1 and 2"):
        load(path)


def test_no_damaged_bit_is_taken_for_another_meaning(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    sound = path.read_bytes()
    refused = 0
    for place in range(len(sound) * 8):
        damaged = bytearray(sound)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            read = load(path)
        except StateError:
            refused += 1
        else:
            assert read == EXAMPLE, f"bit {place}: {bytes(damaged[place // 8 - 20 : place // 8 + 20])!r}"
    assert refused > len(sound) * 4


def test_a_checkpoint_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    sound = path.read_bytes().rstrip()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(StateError):
            load(path)


VERSION_1 = b"""{
  "version": 1,
  "project": "shop",
  "phase": "apply",
  "source": "0-1",
  "rules": "",
  "start": {"file": "bin.000003", "offset": 154, "gtid": "0-1-7"},
  "tables": {
    "shop.purchase": {
      "chunks_planned": 60,
      "rows_exported": 9,
      "loaded": "1-57,60",
      "rows_loaded": 1010,
      "items_loaded": 99,
      "target_id": "",
      "snapshot": {"file": "bin.000003", "offset": 200, "gtid": ""}
    }
  },
  "applied": {"segment": 2, "offset": 345},
  "applied_position": {"file": "bin.000004", "offset": 99, "gtid": "0-1-20"},
  "applied_timestamp": 1700000000.5,
  "counters": {"dead letters": 3}
}
"""


def test_a_checkpoint_of_0_1_0_is_read_and_keeps_its_form_of_values(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(VERSION_1)
    progress = replace(EXAMPLE.tables["shop.purchase"], export="")
    was = replace(EXAMPLE, values=1, tables={"shop.purchase": progress})
    assert load(path) == was
    save(path, load(path))
    assert json.loads(path.read_text())["version"] == 2
    assert load(path) == was


@pytest.mark.parametrize("name", ["snapshot", "loaded", "phase", "tables"])
def test_what_a_checkpoint_of_0_1_0_lacks_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(VERSION_1.replace(name.encode(), b"other", 1))
    with pytest.raises(StateError, match=rf"{name}. is missing|'other' is unknown"):
        load(path)


def test_version_1_does_not_open_a_way_around_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    path.write_bytes(path.read_bytes().replace(b'"version": 2', b'"version": 1'))
    with pytest.raises(StateError, match="does not match its checksum"):
        load(path)


def resealed(fields: dict[str, Any]) -> str:
    """With a checksum that fits, as if whimbrel itself had written this."""
    rest = {name: value for name, value in fields.items() if name != "checksum"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return json.dumps({**rest, "checksum": hashlib.blake2b(plain, digest_size=8).hexdigest()})


def fields_of(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [path for name in value for path in fields_of(value[name], (*at, name))] if isinstance(value, dict) else []
    return [at, *inner]


def test_saving_never_leaves_half_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    program = """
import sys
from pathlib import Path
from whimbrel.checkpoint import Checkpoint, save
from whimbrel.changelog.files import LogPoint
from whimbrel.records import Position
n = 0
while True:
    n += 1
    long = "x" * 20_000
    save(Path(sys.argv[1]), Checkpoint(project=long).with_applied(LogPoint(1, n), Position("bin.000001", n), 0.0))
    print(n, flush=True)
"""
    choose = random.Random()
    for _ in range(6):
        saving = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        assert saving.stdout is not None
        for _ in range(choose.randrange(1, 30)):
            reported = int(saving.stdout.readline())
        saving.send_signal(signal.SIGKILL)
        saving.wait()
        saving.stdout.close()
        checkpoint = load(path)
        assert checkpoint.applied is not None
        assert checkpoint.applied.offset >= reported
        assert checkpoint.applied_position == Position("bin.000001", checkpoint.applied.offset)


def test_when_saving_fails_the_old_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match="No space left"):
        save(path, replace(EXAMPLE, phase="other"))
    assert load(path) == EXAMPLE


@pytest.mark.parametrize(("number", "taken"), [(10_000_000, True), (10_000_001, False)])
def test_numbers_of_chunks_have_an_end(number: int, taken: bool) -> None:
    """A damaged range must not fill the memory."""
    if taken:
        assert from_ranges(str(number)) == {number}
    else:
        with pytest.raises(ValueError, match="chunk numbers"):
            from_ranges(str(number))


def test_a_time_without_a_fraction_is_a_time(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    save(path, EXAMPLE)
    path.write_text(resealed({**json.loads(path.read_text()), "applied_timestamp": 1_700_000_000}))
    read = load(path).applied_timestamp
    assert (type(read), read) == (float, 1_700_000_000.0)
