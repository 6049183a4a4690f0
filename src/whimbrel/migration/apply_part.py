"""What the changes of one part of the log write: a batch in the run's own process, or a stretch of the log in a worker.

A worker is told to fold a stretch, and then, once or several times, to write some of what came of it: which items, and
when, is decided by whoever knows the other stretches (``apply_crew``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from whimbrel.changelog.files import ChangeLogReader, LogPoint
from whimbrel.changelog.stretch import Stretch
from whimbrel.dynamodb.calls import Spent
from whimbrel.dynamodb.session import KnownTarget
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.fold import by_table
from whimbrel.mapping.versions import Versions
from whimbrel.migration.dirty_files import TEXT, text_of_id, texts_of
from whimbrel.migration.load_part import Refused
from whimbrel.migration.provenance import Provenances
from whimbrel.project import Target
from whimbrel.records import Change, Fault, Item, ItemOperation, Table
from whimbrel.workers import Do, Tell

ItemId = tuple[str, TEXT]  # a target table, and the text of the key of an item of it


class FoldedRule(NamedTuple):
    """What one rule makes of changes of one version of its table: items that are none of the other rules'."""

    mapping: TableMapping
    changes: list[Change]
    operations: list[ItemOperation]
    faults: list[Fault]

    def write(self, writer: Writer, provenances: Provenances, operations: Sequence[ItemOperation]) -> list[Fault]:
        """Write some of its ``operations``; the faults of those that can never be written.

        Blocks until every other one is acknowledged: what comes next may touch the same items.
        """
        mapping = self.mapping
        faults = [rejected.fault(mapping.source) for rejected in writer.write(operations)]
        if not mapping.change_metadata:
            return faults
        return [provenances.traced(fault, mapping, self.changes) for fault in faults]


def folded_rules(
    versions: Mapping[str, Versions], rules: Sequence[str], changes: list[Change], provenances: Provenances
) -> Iterator[FoldedRule]:
    """Of ``changes`` of one version of a table, what each of its ``rules`` makes."""
    for name in rules:
        mapping = versions[name].of(changes[0].table)
        yield FoldedRule(mapping, changes, *mapping.fold(changes, provenances.of))


def learn(versions: Mapping[str, Versions], tables: Sequence[Table]) -> None:
    """What a rule makes of a version of its table depends on those before it, and must suit the other rules: so who
    applies a part of the log knows all of them, also those of which others have the changes. Raises SchemaDrift.
    """
    rules = rules_by_table(versions)
    for table in tables:
        for name in rules.get(table.full_name, ()):
            versions[name].of(table)


# --- in a worker ----------------------------------------------------------------------------------------------------


class ApplyWork(NamedTuple):
    """What a worker applies by. ``target`` has its share of what may be written, and ``known`` is how to reach it."""

    log: Path
    versions: dict[str, Versions]
    began: float
    target: Target
    known: KnownTarget | None = None


class FoldStretch(NamedTuple):
    """The job to read a stretch and to fold its changes. Told is what StretchFolded says; nothing is written yet.
    ``tables`` are definitions that the log has up to its end, and this worker was not told of, in their order.
    """

    number: int
    stretch: Stretch
    tables: list[Table]


class WriteItems(NamedTuple):
    """The job to write what the stretch that ends here makes of the items whose turn it is: turn 0 for those not in
    ``turns``.
    """

    end: LogPoint
    turn: int
    turns: Mapping[ItemId, int]


class NothingToWrite(NamedTuple):
    """The job to do nothing, of a worker that has nothing to write while others do."""


class StretchFolded(NamedTuple):
    """How many changes were folded to how many operations, the text of the key of each item that they write, by target,
    and what has no item.
    """

    changes: int
    operations: int
    keys: dict[str, list[TEXT]]
    faults: list[Fault]


class ItemsWritten(NamedTuple):
    """All operations of a job are acknowledged, but for ``faults``, which can never be; ``held`` were skipped by a
    condition.
    """

    operations: int
    faults: list[Fault]
    held: int
    spent: Spent


class NoAnswer(NamedTuple):
    """Calls about these items (target, key) had no answer: they may still arrive."""

    items: list[tuple[str, Item]]


ApplyJob = FoldStretch | WriteItems | NothingToWrite
ApplyTold = StretchFolded | ItemsWritten | NoAnswer | Refused


def applying(work: ApplyWork, stop: threading.Event) -> Do[ApplyJob, ApplyTold]:
    """In a worker. What it folded is worth nothing without the run: it keeps only its place in the log."""
    tells: list[Tell[ApplyTold]] = []  # of the job that is done

    def astray(operations: Sequence[ItemOperation]) -> None:
        tells[-1](NoAnswer([(operation.table, operation.key) for operation in operations]))

    def refused(reason: str) -> None:
        tells[-1](Refused(reason))

    wire = DynamoClient(work.target, known=work.known)
    part = _StretchPart(work, Writer(wire, work.target, stop=stop, astray=astray, refused=refused))

    def do(job: ApplyJob, tell: Tell[ApplyTold]) -> None:
        tells[:] = [tell]
        if isinstance(job, FoldStretch):
            tell(part.fold(job))
        elif isinstance(job, WriteItems):
            tell(part.write(job))

    return do


class _StretchPart:
    """The stretch that a worker has folded last."""

    def __init__(self, work: ApplyWork, writer: Writer) -> None:
        self._versions, self._rules = work.versions, rules_by_table(work.versions)
        self._log, self._began, self._writer = work.log, work.began, writer
        self._reader: ChangeLogReader | None = None  # once it is known where it begins
        self._end: LogPoint | None = None  # of the stretch
        self._folded: list[tuple[FoldedRule, list[TEXT]]] = []  # with the text of the key of each operation

    def fold(self, job: FoldStretch) -> StretchFolded:
        self._folded = []  # before the next is read
        learn(self._versions, job.tables)
        stretch = job.stretch
        if self._reader is None:
            self._reader = ChangeLogReader(self._log, stretch.begin)
        batch = self._reader.read_stretch(stretch)
        self._end = stretch.end
        self._provenances = Provenances(self._reader, batch, stretch.before, self._began)
        counted = 0
        for mine in by_table([record for record in batch if isinstance(record, Change)]):
            rules = self._rules[mine[0].table.full_name]
            for each in folded_rules(self._versions, rules, mine, self._provenances):
                self._folded.append((each, _texts(each)))
            counted += len(mine)
        keys: dict[str, list[TEXT]] = {}
        for each, texts in self._folded:
            keys.setdefault(each.mapping.target, []).extend(filter(None, texts))
        faults = [fault for each, _ in self._folded for fault in each.faults]
        return StretchFolded(counted, sum(len(texts) for _, texts in self._folded), keys, faults)

    def write(self, job: WriteItems) -> ItemsWritten:
        assert job.end == self._end, "another stretch was folded last"
        counted, faults = 0, list[Fault]()
        for each, texts in self._folded:
            operations = _whose_turn(each, texts, job)
            faults += each.write(self._writer, self._provenances, operations)
            counted += len(operations)
        return ItemsWritten(counted, faults, self._writer.take_held(), self._writer.take_spent())


def _whose_turn(folded: FoldedRule, texts: list[TEXT], job: WriteItems) -> list[ItemOperation]:
    if not job.turns:
        return [] if job.turn else folded.operations
    turn_of: Callable[[ItemId, int], int] = job.turns.get
    target = folded.mapping.target
    pairs = zip(folded.operations, texts, strict=True)
    return [operation for operation, text in pairs if turn_of((target, text), 0) == job.turn]


def _texts(folded: FoldedRule) -> list[TEXT]:
    """The text of the key of each operation's item, equal for all keys that DynamoDB takes for the same; empty for a
    lone surrogate, whose item cannot exist.
    """
    keys = [operation.key for operation in folded.operations]
    if any(kind == "N" for _, kind in folded.mapping.key_attributes):
        return [_text_of_number(key) for key in keys]
    texts = texts_of(keys)
    return texts if len(texts) == len(keys) else [b"".join(texts_of([key])) for key in keys]


def _text_of_number(key: Item) -> TEXT:
    try:
        return text_of_id(key_id(key))
    except TypeError:
        return b""
