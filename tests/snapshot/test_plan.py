"""The record of an export comes back as it was written, and nothing that happens to its file is taken for another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from whimbrel import durable
from whimbrel.errors import LogCorrupt, SchemaDrift, StateError
from whimbrel.mysql.plan import PLAN_FILE, Plan
from whimbrel.records import Column, Table
from whimbrel.snapshot_files import Chunk, chunk_to_json, table_to_json

TABLE = Table("shop", "purchase", (Column("id", "int"), Column("b", "binary")), ("id", "b"))
KEY = ("id", "b")
BOUNDS = [None, (3, b"\x00a"), (9, b""), (12, b"\xff"), None]
CHUNKS = [Chunk(number, low, high, KEY) for number, (low, high) in enumerate(itertools.pairwise(BOUNDS), 1)]


def meaning(plan: Plan) -> object:
    return plan.table, plan.key, plan.export, plan.chunks, plan.rows


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = Plan(tmp_path)
    made.begin(TABLE, KEY, "0123abcd")
    for chunk in CHUNKS:
        made.add(chunk)
    made.record({1: 10, 2: 10, 3: 10, 4: 7})
    made.forget([2])
    made.record({2: 11})
    return made


def test_it_comes_back(plan: Plan) -> None:
    again = Plan(plan.path.parent)
    assert meaning(again) == meaning(plan) == (TABLE, KEY, "0123abcd", CHUNKS, {1: 10, 2: 11, 3: 10, 4: 7})
    assert again.exported
    again.forget([4])
    assert again.complete
    assert not again.exported
    assert not Plan(plan.path.parent).exported


def test_it_begins_once(plan: Plan, tmp_path: Path) -> None:
    plan.begin(TABLE, KEY, "another")
    assert Plan(tmp_path).export == "0123abcd"
    with pytest.raises(StateError, match=r"for the key \['id', 'b'\], not \['id'\]"):
        plan.begin(TABLE, ("id",))
    with pytest.raises(SchemaDrift, match="changed since"):
        plan.begin(Table("shop", "purchase", TABLE.columns[:1], ("id",)), KEY)
    (tmp_path / "other").mkdir()
    other = Plan(tmp_path / "other")
    other.begin(TABLE, KEY)
    assert len(other.export) == 16


def refused_or(found: Callable[[Plan], bool], path: Path, data: bytes) -> bool:
    """Whether ``data`` was refused by name; what was read otherwise must be as ``found`` says."""
    path.write_bytes(data)
    try:
        read = Plan(path.parent)
    except LogCorrupt as error:
        named = error.place == str(path) and "exported again" in error.hint
        assert named, error  # noqa: PT017
        return True
    assert found(read), data
    return False


def test_no_bit_of_it_can_flip_unnoticed(plan: Plan) -> None:
    whole, said = plan.path.read_bytes(), meaning(plan)

    def same_or_without_its_last_line(read: Plan) -> bool:  # which a crash may cut short; it is read again then
        return meaning(read) == said or (read.chunks == CHUNKS and 2 not in read.rows)

    refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        refused += refused_or(same_or_without_its_last_line, plan.path, bytes(damaged))
    assert refused > 7.9 * len(whole)


def test_what_is_cut_off_is_never_half_there(plan: Plan) -> None:
    whole = plan.path.read_bytes()
    earlier = [{}, {1: 10, 2: 10, 3: 10, 4: 7}, {1: 10, 3: 10, 4: 7}, plan.rows]
    for at in range(len(whole)):
        assert not refused_or(
            lambda read: read.chunks == CHUNKS[: len(read.chunks)] and read.rows in earlier, plan.path, whole[:at]
        )
        assert plan.path.read_bytes() in (b"", whole[: whole[:at].rfind(b"\n") + 1])


def test_lines_that_move_or_go_are_noticed(plan: Plan) -> None:
    lines = plan.path.read_bytes().splitlines(keepends=True)
    last = len(lines) - 1

    def safe(read: Plan) -> bool:
        return read.chunks == CHUNKS[: len(read.chunks)] and read.export == "0123abcd"

    for number in range(1 + len(CHUNKS)):  # the header and the chunks
        assert refused_or(safe, plan.path, b"".join(lines[:number] + lines[number + 1 :]))
        assert refused_or(safe, plan.path, b"".join([*lines[: number + 1], lines[number], *lines[number + 1 :]]))
    for one, other in itertools.combinations(range(last + 1), 2):
        moved = list(lines)
        moved[one], moved[other] = moved[other], moved[one]
        assert refused_or(safe, plan.path, b"".join(moved)) or one > len(CHUNKS)


# -- whimbrel 0.1.0 ----------------------------------------------------------------------------------------------------


def version_1(chunks: list[Chunk]) -> bytes:
    records = [{"table": table_to_json(TABLE), "key": list(KEY)}, *map(chunk_to_json, chunks)]
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


def test_a_plan_of_0_1_0_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / PLAN_FILE
    path.write_bytes(version_1(CHUNKS[:2]) + b'{"number":3,"lo')
    plan = Plan(tmp_path)
    assert meaning(plan) == (TABLE, KEY, "", CHUNKS[:2], {})
    for chunk in CHUNKS[2:]:
        plan.add(chunk)
    assert meaning(Plan(tmp_path)) == (TABLE, KEY, "", CHUNKS, {})


def test_bounds_of_0_1_0_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / PLAN_FILE
    for low, high in [((4, b"\x00a"), (9, b"")), ((3, b"\x00a"), (8, b"")), (None, (9, b"")), ((3, b"\x00a"), None)]:
        path.write_bytes(version_1([CHUNKS[0], Chunk(2, low, high, KEY), *CHUNKS[2:]]))
        with pytest.raises(LogCorrupt, match="does not follow"):
            Plan(tmp_path)
    for text in (b"7\n", b"[]\n", b"null\n", b"{}\n", b'{"table":1,"key":2}\n', b"\xff\n"):
        path.write_bytes(text)
        with pytest.raises(LogCorrupt, match="is damaged"):
            Plan(tmp_path)


@pytest.mark.parametrize("left", [b"", b'{"format":"whimbrel-plan/2"', None])
def test_its_name_is_durable_when_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes | None
) -> None:
    """Also where a crash left the file before its name was."""
    if left is not None:
        (tmp_path / PLAN_FILE).write_bytes(left)
    synced = list[Path]()
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    monkeypatch.setattr("whimbrel.mysql.plan.sync_folder", synced.append)
    Plan(tmp_path).begin(TABLE, KEY)
    assert synced == [tmp_path]
