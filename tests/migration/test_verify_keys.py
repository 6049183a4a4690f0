"""A verification of some items only, and what it and a full one leave behind: over rows and items in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.migration.kept import AT, Kept
from tests.migration.sides import GROUP, RECORD, TABLE, Sides, filled
from whimbrel.errors import StateError
from whimbrel.migration import differences, second_look, verify
from whimbrel.migration.dead import letter_of
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.verified import Verified, read_verified, rules_now
from whimbrel.migration.verify import dirty_items, verify_all, verify_keys
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.project import Target
from whimbrel.records import Fault, Item, Position


class Both:
    """Sixty rows and their items, the dirty keys, and a verification that found them equal."""

    def __init__(self, made: Sides, root: Path) -> None:
        self.sides = made
        self.kept = Kept(root)
        self.root = root
        filled(made, 3)
        self.prepared: Any = SimpleNamespace(
            project=SimpleNamespace(
                workers=1,
                source="the source",
                target=Target(region="us-east-1"),
                state=root,
                tables=[made.mappings[0].rule],
            ),
            mappings={mapping.source: mapping for mapping in made.mappings},
            estimates=dict.fromkeys((mapping.source for mapping in made.mappings), 50),
        )
        self.whole()

    def whole(self) -> bool:
        made = self.sides
        return all(each.equal for each in verify_all(self.prepared, made.wire, made.applied, made.stop, made.progress))  # type: ignore[arg-type]

    def quick(self, waivers: Waivers = NONE, *, still: Position | None = None) -> dict[str, int]:
        made = self.sides
        self.kept.keys.cut()
        dirty = dirty_items(self.prepared)
        (report,) = verify_keys(
            self.prepared, dirty, made.wire, made.applied, made.stop, made.progress, waivers, still=still  # type: ignore[arg-type]
        )  # fmt: skip
        self.looked_at, self.waived = report.candidates, report.waived
        return report.counts

    def write(self, *names: str) -> None:
        """Noted as whimbrel does it before it writes."""
        self.kept.keys.add("items", [key(name) for name in names])

    @property
    def verified(self) -> Verified | None:
        return read_verified(self.root)


def key(name: str) -> Item:
    return {"pk": {"S": name}}


@pytest.fixture(params=["record", "group"])
def both(
    request: pytest.FixtureRequest,
    sides: Callable[..., Sides],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Both:
    made = sides(((RECORD if request.param == "record" else GROUP), TABLE))
    monkeypatch.setattr(verify, "connect", lambda source: made)
    monkeypatch.setattr(verify, "lineage_of", lambda prepared: SimpleNamespace(end_of=made.position))
    return Both(made, tmp_path / "state")


def names(both: Both) -> list[str]:
    return sorted(item["pk"]["S"] for item in both.sides.items.values())


def test_a_verification_that_finds_both_equal_says_so(both: Both) -> None:
    found = both.verified
    assert found is not None
    assert (found.position, found.tables, found.rules) == (AT, {"shop.things": "items"}, rules_now(both.prepared))
    assert found.full == found.time > 0
    assert len(dirty_items(both.prepared)) == 0


@pytest.mark.parametrize("still", [None, Position("bin.000001", 100)])
def test_only_what_is_dirty_is_compared(both: Both, still: Position | None) -> None:
    first, second, third, *_ = names(both)
    both.write(first, second)
    both.sides.item(first)["more"] = {"S": "x"}
    both.sides.item(third)["more"] = {"S": "not looked at"}
    begun = both.verified
    assert both.quick(still=still) == {"changed": 1}
    assert both.looked_at == 2
    assert both.verified == begun
    del both.sides.item(first)["more"]
    both.sides.items.pop(both.sides.wire.identity(key(second)))
    assert both.quick(still=still) == {"missing": 1}
    both.write("extra")
    both.sides.items[both.sides.wire.identity(key("extra"))] = key("extra")
    assert both.quick(still=still) == {"missing": 1, "extra": 1}
    both.sides.items.pop(both.sides.wire.identity(key("extra")))
    both.sides.migrate()
    both.sides.item(third)["more"] = {"S": "not looked at"}
    until = dirty_items(both.prepared).position
    assert both.quick(still=still) == {}
    assert both.looked_at == 3
    assert both.verified
    assert both.verified.position == until
    moved = both.verified
    assert moved is not None
    assert begun is not None
    assert moved.place.file > begun.place.file
    assert (moved.full, moved.rules) == (begun.full, begun.rules)
    assert both.quick(still=still) == {}
    assert both.looked_at == 0
    assert not both.whole()
    assert both.verified is None


def test_a_row_without_an_item_is_a_difference(both: Both) -> None:
    both.sides.insert((77, 77, "x" * 500_000))
    both.write("thing#77", "owner#77")
    assert both.quick() == {"unmappable": 1}


@pytest.mark.parametrize("still", [None, Position("bin.000001", 100)])
def test_the_applier_must_have_come_as_far(both: Both, still: Position | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "APPLIER_PATIENCE", 0.0)
    both.write(names(both)[0])
    both.sides.applied = lambda: Position("bin.000001", 99)
    with pytest.raises(StateError, match=r"the applier is at bin\.000001:99 and does not reach bin\.000001:100"):
        both.quick(still=still)


def test_what_does_not_stand_still_is_left_to_the_next_round(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "ATTEMPTS", 5)
    first, second, *_ = names(both)
    source, mapping = both.sides.rows["shop.things"], both.sides.mappings[0]
    both.write(first, second)
    [hot] = [row for row in source.values() if mapping.item_key(row) == key(first)][:1]
    count = iter(range(1000))

    def writes() -> None:
        source[hot[0],] = (*hot[:2], f"{next(count)}")

    both.sides.moves = writes
    assert both.quick() == {"unsettled": 1}
    found = both.verified
    assert found is not None
    assert found.unsettled == {"items": [key(first)]}
    assert dirty_items(both.prepared).texts == {"items": {b'{"pk":{"S":"%b"}}' % first.encode()}}
    both.sides.moves = lambda: None
    source[hot[0],] = hot
    assert both.quick() == {}
    assert both.looked_at == 1
    assert len(dirty_items(both.prepared)) == 0
    both.write(first)
    both.sides.moves = writes
    monkeypatch.setattr(differences, "LISTED", 0)
    begun = both.verified
    assert both.quick() == {"unsettled": 1}
    assert both.verified == begun, "the next round could not name it"


def test_one_that_was_stopped_says_nothing(both: Both) -> None:
    both.write(*names(both)[:3])
    begun = both.verified
    both.sides.stop.set()
    both.quick()
    assert both.verified == begun


def test_what_the_items_are_made_with_may_not_change(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = both.kept.state.tables
    tables.write_text("the first version\n")
    assert "altered" in dirty_items(both.prepared).everything
    assert both.whole()
    assert not dirty_items(both.prepared).everything
    both.prepared.project.tables = [replace(both.sides.mappings[0].rule, exclude=("name",))]
    assert "edited" in dirty_items(both.prepared).everything
    assert both.whole()

    def altered() -> None:
        tables.write_text("the second version\n")

    both.sides.moves = altered
    before = both.verified
    assert both.whole()
    assert both.verified == before, "altered while it was read"
    assert dirty_items(both.prepared).everything


def test_without_dirty_keys_a_verification_leaves_nothing(both: Both) -> None:
    for path in both.kept.state.dirty.iterdir():
        path.unlink()
    (both.root / "verified.json").unlink()
    assert both.whole()
    assert both.verified is None
    both.kept.open()
    assert both.whole()
    assert both.verified is not None


def test_what_is_written_while_it_reads_is_dirty_afterwards(both: Both) -> None:
    name = names(both)[0]
    both.sides.moves = lambda: both.write(name)
    both.kept.keys.cut()
    assert both.whole()
    assert dirty_since(both.root, both.verified).texts == {"items": {b'{"pk":{"S":"%b"}}' % name.encode()}}


def test_a_difference_that_is_a_waived_dead_letter_stands_apart(both: Both) -> None:
    first, second, *_ = names(both)
    both.write(first, second)
    both.sides.items.pop(both.sides.wire.identity(key(first)))
    letter = letter_of(Fault("shop.things", "too large", {}, key(first), None), "apply")
    assert both.quick() == {"missing": 1}
    assert both.quick(Waivers([letter | {"table": "shop.other"}])) == {"missing": 1}
    assert both.quick(Waivers([letter | {"item_key": key(second)}])) == {"missing": 1}
    assert both.waived == []
    assert both.quick(Waivers([letter])) == {}
    assert [each.key for each in both.waived] == [key(first)]
