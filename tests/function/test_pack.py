"""The log becomes records: each change is in the lanes of its items, and no interval is left out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.migration.applied import COLUMNS, RULES, TABLES
from whimbrel.changelog.record import change_encoder
from whimbrel.dynamodb.session import Session
from whimbrel.kinesis.lanes import LANES, lane_of
from whimbrel.kinesis.packed import Interval, KeptLine, Numbered, changes_of, unpack
from whimbrel.kinesis.settings import table_from_line
from whimbrel.mapping.versions import Versions
from whimbrel.migration import pack
from whimbrel.migration.pack import Packer
from whimbrel.migration.stream import most_bytes
from whimbrel.project import KeyRule, load_project
from whimbrel.records import Change, Column, Commit, Fault, Position, Table

AT = Position("bin.000001", 4)
HEAD = Interval("m", "s", 1, 0, 0, 0)


class Packed:
    """A Packer, and what came out of it, by lane."""

    def __init__(self, form: str = "packed", most: int = 1 << 20, key: str = "${id}", *, keeps: bool = False) -> None:
        rules = [replace(rule, partition_key=KeyRule("pk", key), new_columns="include") for rule in RULES]
        versions = {rule.source: Versions(rule, table) for rule, table in zip(rules, TABLES, strict=True)}
        self.said: dict[str, bytes] = {}
        self.packer = Packer(versions, self._put_table, HEAD, 0.0, form, most, self._keep if keeps else None)
        self.kept: dict[KeptLine, bytes] = {}
        self.heads: dict[int, list[Interval]] = {lane: [] for lane in range(LANES)}
        self.found: dict[int, list[Numbered]] = {lane: [] for lane in range(LANES)}

    def _put_table(self, line: bytes) -> str:
        digest = f"digest {len(self.said)}"
        self.said[digest] = line
        return digest

    def _keep(self, line: bytes) -> KeptLine:
        kept = KeptLine(f"digest {len(self.kept)}", len(line))
        self.kept[kept] = line
        return kept

    def pack(self, batch: Sequence[Change | Commit], ahead: float = 0.0) -> list[str]:
        lines = [change_encoder(each.table)(each).rstrip(b"\n") for each in batch if isinstance(each, Change)]
        faults = self.packer.pack(batch, lines, lambda: ahead)
        self.take()
        return [fault.reason for fault in faults]

    def fault(self, changes: list[Change], time: float) -> list[Fault]:
        lines = [change_encoder(each.table)(each).rstrip(b"\n") for each in changes]
        faults = self.packer.pack([*changes, commit(time)], lines, lambda: 0.0)
        self.take()
        return faults

    def take(self) -> None:
        for record in self.packer.take():
            packed = unpack(record.data)
            assert packed.head.lane == record.lane
            if packed.kept:
                packed = packed._replace(lines=[self.kept[packed.kept]], kept=None)
            self.heads[record.lane].append(packed.head)
            self.found[record.lane] += changes_of(packed, 0, lambda digest: table_from_line(self.said[digest]))


def commit(time: float) -> Commit:
    return Commit(AT, time)


def lane(key: object) -> int:
    return lane_of({"pk": {"S": str(key)}})


@pytest.mark.parametrize("form", ["packed", "post"])
def test_each_change_is_in_the_lanes_of_its_items_and_in_no_other(form: str) -> None:
    chance, packed, wanted = random.Random(1), Packed(form), {lane: list[Numbered]() for lane in range(LANES)}
    number = 0
    for batch_number in range(10):
        batch: list[Change | Commit] = []
        for _ in range(40):
            number += 1
            before, after = ((chance.randrange(99), "a", None) for _ in range(2))
            change = Change(chance.choice(TABLES), *chance.choice([(before, after), (None, after), (before, None)]), AT)
            keys = {row[0] for row in (change.before, change.after) if row}
            for each in {lane(key) for key in keys}:
                wanted[each].append(Numbered(number, float(batch_number), change))
            batch.append(change)
        packed.pack([*batch, commit(batch_number)])
        packed.packer.mark()
        packed.take()
    assert packed.found == wanted
    for heads in packed.heads.values():
        assert [0, *(head.to for head in heads)] == [*(head.after for head in heads), number]


def test_a_change_of_a_transaction_that_is_cut_off_has_the_time_of_its_end() -> None:
    packed = Packed()
    one, two, three = (Change(TABLES[0], None, (key, "a", 1), AT) for key in (1, 2, 3))
    packed.pack([one, commit(1.0), two], ahead=2.0)
    packed.pack([three, commit(2.0)])
    times = {each.change.after[0]: each.time for some in packed.found.values() for each in some if each.change.after}
    assert times == {1: 1.0, 2: 2.0, 3: 2.0}


def test_a_row_without_a_key_is_a_fault_of_the_sender_and_still_counted() -> None:
    packed = Packed(key="${name}")
    rows = [(1, "a", 1), (2, None, 1), (3, "b", 1)]
    reasons = packed.pack([*(Change(TABLES[0], None, row, AT) for row in rows), commit(1.0)])
    assert len(reasons) == 1
    assert "name" in reasons[0]
    assert sorted(each.number for some in packed.found.values() for each in some) == [1, 3]


def test_a_row_whose_new_key_cannot_be_made_is_taken_out_of_its_old_item() -> None:
    packed = Packed(key="${name}")
    reasons = packed.pack([Change(TABLES[0], (1, "a", 1), (1, None, 1), AT), commit(1.0)])
    assert len(reasons) == 1
    assert [each.number for each in packed.found[lane("a")]] == [1]


def test_a_record_has_one_version_of_a_table() -> None:
    packed = Packed()
    wider = Table("shop", "one", (*COLUMNS, Column("more", "int")), ("id",))
    changes = [Change(TABLES[0], None, (1, "a", 1), AT), Change(wider, (1, "a", 1, None), (1, "a", 1, 2), AT)]
    packed.pack([*changes, commit(1.0)])
    assert [each.change for each in packed.found[lane(1)]] == changes
    assert len(packed.heads[lane(1)]) == 2


def noise(size: int) -> str:
    return random.Random(size).randbytes(size // 2).hex()


@pytest.mark.parametrize("form", ["packed", "post"])
def test_a_change_that_no_record_takes_is_a_dead_letter_of_each_of_its_items(form: str) -> None:
    """Without its row, which may be as large: the item is read from the source when it is retried."""
    packed = Packed(form, most=4_000)
    changes = [
        Change(TABLES[0], None, (1, "a", 1), AT),
        Change(TABLES[0], (1, "a", 1), (2, noise(8_000), 1), AT),
        Change(TABLES[0], None, (3, "b", 1), AT),
    ]
    faults = packed.fault(changes, 1.0)
    assert [(each.table, each.source_key, each.item_key, each.change) for each in faults] == [
        ("shop.one", {}, {"pk": {"S": key}}, None) for key in ("1", "2")
    ]
    assert {each.reason for each in faults} == {faults[0].reason}
    assert "bytes, and a record of the stream 4,000 at most" in faults[0].reason
    packed.packer.mark()
    packed.take()
    assert sorted(each.number for some in packed.found.values() for each in some) == [1, 3]
    for heads in packed.heads.values():
        assert (heads[0].after, heads[-1].to) == (0, 3)
        assert all(one.to == other.after for one, other in pairwise(heads))


def test_a_change_that_the_functions_memory_does_not_take_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed it is small, and unpacked it is not."""
    monkeypatch.setattr(pack, "LINE_BYTES", 2 << 20)
    [fault] = Packed().fault([Change(TABLES[0], None, (1, "x" * (2 << 20), 1), AT)], 1.0)
    assert "and the function takes 2,097,152 at most" in fault.reason


def test_large_changes_have_a_record_each() -> None:
    """Each fits, and two of them would not."""
    packed = Packed()
    changes = [Change(TABLES[0], None, (1, noise(size), 1), AT) for size in (100, 700_000, 600_000, 400_000, 300_000)]
    assert packed.pack([*changes, commit(1.0)]) == []
    assert [len(head.numbers) for head in packed.heads[lane(1)]] == [1, 1, 1, 1, 1]
    assert [each.change for each in packed.found[lane(1)]] == changes


@pytest.mark.parametrize(
    ("kib", "most"), [(None, 1 << 20), (1_024, 1 << 20), (2_048, 2 << 20), (10_240, 4 << 20)], ids=str
)
def test_a_record_may_have_what_the_stream_and_lambda_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kib: int | None, most: int
) -> None:
    """A stream may take records of 10 MiB; as base64, more than 4 MiB do not fit into what Lambda hands over."""
    known = {"StreamStatus": "ACTIVE", "RetentionPeriodHours": 24}
    summary = {**known, **({} if kib is None else {"MaxRecordSizeInKiB": kib})}
    described = SimpleNamespace(describe_stream_summary=lambda **_: {"StreamDescriptionSummary": summary})
    monkeypatch.setattr(Session, "service", lambda *_: described)
    (tmp_path / "whimbrel.toml").write_text(
        '[target]\nendpoint = "http://127.0.0.1:1"\n'
        '[log]\nengine = "kinesis"\nstream = "s"\nendpoint = "http://127.0.0.1:1"\n[apply]\nengine = "lambda"\n'
    )
    assert most_bytes(load_project(tmp_path / "whimbrel.toml")) == most
    large = Change(TABLES[0], None, (1, noise(3 * most // 2), 1), AT)  # which zlib makes half of
    packed = Packed(most=most)
    assert packed.pack([large, commit(1.0)]) == []
    assert [each.change for each in packed.found[lane(1)]] == [large]
    larger = Change(TABLES[0], None, (1, noise(5 * most // 2), 1), AT)
    [reason] = Packed(most=most).pack([larger, commit(1.0)])
    assert "With snapshot.store it would be kept in the bucket" in reason
    keeping = Packed(most=most, keeps=True)
    assert keeping.pack([larger, commit(1.0)]) == []
    assert [each.change for each in keeping.found[lane(1)]] == [larger]


@pytest.mark.parametrize("form", ["packed", "post"])
def test_a_change_that_no_record_takes_has_its_place_among_the_others(form: str) -> None:
    """In the lanes of both items, where it moves a row."""
    packed = Packed(form, most=4_000, keeps=True)
    rows = [(1, "a", 1), (1, noise(20_000), 1), (2, noise(30_000), 1), (2, "b", 1)]
    changes = [Change(TABLES[0], *pair, AT) for pair in pairwise([None, *rows, None])]
    assert packed.pack([*changes, commit(1.0)]) == []
    assert [each.change for each in packed.found[lane(1)]] == changes[:3]
    assert [each.change for each in packed.found[lane(2)]] == changes[2:]
    for heads in packed.heads.values():
        assert all(one.to == other.after for one, other in pairwise(heads))
    assert [packed.packer.needed[lane(key)] for key in (1, 2)] == [3, 5]


def test_a_change_that_no_memory_takes_is_a_dead_letter_even_with_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "KEPT_BYTES", 2 << 20)
    packed = Packed(keeps=True)
    [fault] = packed.fault([Change(TABLES[0], None, (1, noise(3 << 20), 1), AT)], 1.0)
    assert "and the function takes 2,097,152 at most" in fault.reason
    assert packed.kept == {}


def test_a_record_names_the_tables_that_it_has_changes_of_alone() -> None:
    packed = Packed()
    keys = [next(key for key in range(99) if lane(key) == number) for number in (3, 5)]
    packed.pack(
        [Change(table, None, (key, "a", 1), AT) for key, table in zip(keys, TABLES, strict=False)] + [commit(1.0)]
    )
    assert [list(packed.heads[number][0].tables) for number in (3, 5)] == [[each.full_name] for each in TABLES[:2]]


def test_a_marker_comes_again_when_it_is_asked_for() -> None:
    packed = Packed()
    packed.pack([Change(TABLES[0], None, (1, "a", 1), AT), commit(1.0)])
    packed.packer.mark()
    packed.packer.mark()
    packed.packer.probe(range(LANES))
    packed.take()
    assert {len(heads) for heads in packed.heads.values()} == {2}
    assert {(heads[-1].after, heads[-1].to) for heads in packed.heads.values()} == {(1, 1)}


def test_a_lane_that_has_passed_its_last_change_has_everything() -> None:
    """Without a marker: what it needs is told by the changes that were packed for it."""
    packed = Packed()
    packed.pack([Change(TABLES[0], None, (key, "a", 1), AT) for key in (1, 2, 1)] + [commit(1.0)])
    needed = {lane(1): 3, lane(2): 2}
    assert list(packed.packer.needed) == [needed.get(number, 0) for number in range(LANES)]
    packed.packer.mark()
    assert list(packed.packer.needed) == [needed.get(number, 0) for number in range(LANES)]
