"""A load that ends at any moment, and goes on from the last Checkpoint that was durable by then: what is not in that is
done again, nothing is left out, and nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.migration.loading import GROUP, RECORD, Loading
from tests.migration.test_load_part import TARGET, Here
from whimbrel import checkpoint
from whimbrel.checkpoint import TableProgress
from whimbrel.dynamodb.write import Writer
from whimbrel.migration import dead, load, load_part, state
from whimbrel.migration.dead import DeadLetters, Letter, identity_of, read_letters
from whimbrel.migration.load import Crew, is_loaded
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.state import CheckpointStore
from whimbrel.project import TableRule
from whimbrel.records import Item

FILES = ("checkpoint.json", "dead.jsonl")
REFUSED = ("thing#3", "thing#12", "thing#29", "thing#34", "owner#1")
CHUNKS, ROWS = 9, 4


class Moment(NamedTuple):
    """What is durable: the files of the state folder by their names, and the target's items by their keys."""

    files: dict[str, bytes]
    items: dict[str, Item]


class Recorded(Loading):
    """A load that can go on from any moment of itself. ``moments`` has one for each step that lasts."""

    def __init__(self, folder: Path, rule: TableRule, monkeypatch: pytest.MonkeyPatch, crew: Crew | None) -> None:
        super().__init__(folder, rule)
        self.crew = crew
        for number in range(1, CHUNKS + 1):
            rows = ((n, n % 9, f"name {n}") for n in range(ROWS * (number - 1) + 1, ROWS * number + 1))
            self.chunk(*rows, high=ROWS * number if number < CHUNKS else None)
        exported = TableProgress(chunks_planned=CHUNKS, rows_exported=CHUNKS * ROWS)
        self.checkpoints.save(self.checkpoints.now.with_table("shop.things", exported))
        self.moments: list[Moment] = []
        self.wire.refuse = lambda item: "never" if item["pk"]["S"] in REFUSED else ""
        self.wire.disturb = self.wire.lose_answer = self._note
        monkeypatch.setattr(load_part, "DynamoClient", lambda target, known: self.wire)
        for module, name in ((checkpoint, "replace_file"), (dead, "append")):
            monkeypatch.setattr(module, name, self._noted(getattr(module, name)))

    def run(self) -> None:
        assert self.loader(self.crew).load(self.plan, self.folder / "spill") == 0

    def run_from(self, moment: Moment, folder: Path) -> None:
        """As another process does, with ``folder`` as its state folder."""
        folder.mkdir()
        for name, data in moment.files.items():
            (folder / name).write_bytes(data)
        self.wire.items = {"items": deepcopy(moment.items)}
        self.folder, self.checkpoints = folder, CheckpointStore(folder / "checkpoint.json")
        self.dead, self.writer = DeadLetters(folder / "dead.jsonl"), Writer(self.wire, TARGET)  # type: ignore[arg-type]
        self.progress = Progress(tables={"shop.things": TableCounts()})
        self.run()

    def letters(self) -> list[bytes]:
        return sorted(map(identity_of, read_letters(self.folder / "dead.jsonl")))

    def _noted(self, lasting: Callable[..., None]) -> Callable[..., None]:
        def around(path: Path, data: bytes) -> None:
            lasting(path, data)
            self._note()

        return around

    def _note(self, *_: Any) -> bool:
        files = {name: path.read_bytes() for name in FILES if (path := self.folder / name).exists()}
        self.moments.append(Moment(files, deepcopy(self.wire.table("items"))))
        return False


def durable(moment: Moment, folder: Path) -> tuple[TableProgress, list[Letter]]:
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(moment.files.get(name, b""))
    return checkpoint.load(folder / FILES[0]).table("shop.things"), list(read_letters(folder / FILES[1]))


def written(moment: Moment, letters: list[Letter]) -> set[int]:
    """The numbers of chunks each of whose rows is an item or a letter."""
    there = {each["pk"]["S"] for each in [*moment.items.values(), *(letter["item_key"] for letter in letters)]}
    ends = range(ROWS, CHUNKS * ROWS + 1, ROWS)
    return {end // ROWS for end in ends if there >= {f"thing#{end - before}" for before in range(ROWS)}}


@pytest.mark.parametrize(
    ("rule", "crew"),
    [(RECORD, None), (RECORD, Crew(2, TARGET, 7, lambda: None)), (GROUP, None)],
    ids=["records", "by workers", "regrouped"],
)
def test_it_goes_on_from_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: TableRule, crew: Crew | None
) -> None:
    clock = count()
    monkeypatch.setattr(state, "monotonic", lambda: next(clock) * load.SAVED_WITHIN / 7)
    monkeypatch.setattr(load, "Workers", Here)
    monkeypatch.setattr(load, "SECONDS_FOR_WORKERS", 0.0)
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 5)
    monkeypatch.setattr(load_part, "SLICE_ITEMS", 3)
    loading = Recorded(tmp_path, rule, monkeypatch, crew)
    loading.run()
    wanted, moments, behind = (loading.loaded, loading.held(), loading.letters()), loading.moments[:], set[int]()
    assert is_loaded(loading.mapping, loading.loaded)
    assert len(loading.letters()) == (4 if rule is RECORD else 1)
    for number, moment in enumerate(moments):
        done, letters = durable(moment, tmp_path / f"look-{number}")
        if rule is RECORD:
            assert done.rows_loaded == ROWS * len(done.loaded)
            assert done.loaded <= written(moment, letters), "a chunk counts that is not there"
            behind.add(len(written(moment, letters) - done.loaded))
        loading.run_from(moment, tmp_path / f"again-{number}")
        assert (loading.loaded, loading.held(), loading.letters()) == wanted
    assert len(moments) > 15
    assert rule is GROUP or max(behind) > 1, "no Checkpoint was delayed"
