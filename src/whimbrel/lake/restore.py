"""``whimbrel restore``: a table rebuilt from its exports, every item exactly as it was.

Exports are written in their order, so the last word on a key is written last. A line that cannot be read, or an item
that DynamoDB refuses, is named and counted, and the rest continues.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Rejected, Writer
from whimbrel.errors import UserError
from whimbrel.item import identified_by
from whimbrel.lake import sources
from whimbrel.lake.chain import chain_of, until
from whimbrel.lake.chain_file import home
from whimbrel.lake.lines import lines
from whimbrel.lake.native import Export, check_file
from whimbrel.lake.opened import open_lake
from whimbrel.lake.refused import Refused
from whimbrel.lake.restored import RestorePlan
from whimbrel.lake.shapes import Shapes
from whimbrel.lake.sources import Line, SourceFile, find
from whimbrel.lake.table import exported_place
from whimbrel.project import Project, Target
from whimbrel.records import Delete, Item, Put, PutText

Key = Sequence[tuple[str, str]]  # (name, type S, N or B): the partition key, and the sort key if there is one
_AT_ONCE = 2_500  # operations in one call of the writer
_BYTES_AT_ONCE = 4 << 20  # of lines: items of small values take 15 times as much in memory
_SHOWN_TEXT = 500


@dataclass
class Restored:
    created: bool = False
    puts: int = 0
    deletes: int = 0
    refused: list[Refused] = field(default_factory=list)


def files_of(
    exports: Sequence[Export], loose: Sequence[SourceFile], as_of: str = "", *, accept_gap: bool = False
) -> list[SourceFile]:
    """The files to restore from, in order: the newest full export (no newer than ``as_of``) and what follows it."""
    if not exports:
        if csv := [each for each in loose if each.form == "csv"]:
            hint = "Restore from an export in DynamoDB's own types."
            raise UserError("CSV does not say which type a value had", place=str(csv[0].path), hint=hint)
        return sources.prepared(loose, {})
    chain = chain_of(until(exports, as_of), accepted=None if accept_gap else ())
    for export in chain:
        for number in range(len(export.files)):
            check_file(export, number)
    return [source for export in chain for source in sources.sources(export)]


def restore(
    target: Target,
    table: str,
    files: Iterable[SourceFile],
    key: Key,
    *,
    into_existing: bool = False,
    stop: threading.Event | None = None,
    on_items: Callable[[int], None] = lambda items: None,
) -> Restored:
    """Write what the files say into the table, which is made if there is none.

    Without ``into_existing``, a table with items is refused. It may be repeated after a stop (with ``into_existing``):
    the same operations give the same items. Raises TargetNotEmpty, RequestRefused, Stopped, StateError.
    """
    done = Restored()
    done.created = ensure_table(open_client(target), table, list(key), target, allow_items=into_existing)
    with closing(DynamoClient(target)) as wire:
        writer = Writer(wire, target, stop=stop)
        placed = _quick_operations(files, table, sorted(name for name, _ in key), done.refused)
        for batch, places in _batches(placed, _identified_by(key)):
            rejected = writer.write(batch)
            if rejected:
                place_of = dict(zip(map(id, batch), places, strict=True))
                done.refused += [_refused(place_of[id(each.operation)], each) for each in rejected]
            deletes = sum(isinstance(operation, Delete) for operation in batch)
            done.deletes += deletes
            done.puts += len(batch) - deletes - len(rejected)
            on_items(len(batch))
    return done


class Chosen(NamedTuple):
    """What a table is restored from, and where to."""

    table: str
    key: Key
    files: list[SourceFile]

    def plan(self) -> RestorePlan:
        key = tuple((name, kind) for name, kind in self.key)
        return RestorePlan(self.table, key, tuple(each.place for each in self.files))


def choose(
    project: Project,
    table: str,
    *,
    place: str = "",
    as_of: str = "",
    into: str = "",
    key: Key = (),
    accept_gap: bool = False,
    stop: threading.Event,
) -> Chosen:
    """The files of the table's exports, or of those at ``place``, and the key, where it is not given.

    Raises UserError if nothing says what the key is.
    """
    where = exported_place(project, place, stop)
    with open_lake(project, stop) as lake:
        home(lake.folder, table)  # the name is one, also where it is used for nothing else
        found = find(where) if where else lake.find(table)
        chain = None if place else lake.chain(table)
    files = files_of(found.exports, found.files, as_of, accept_gap=accept_gap)
    known = key or (list(chain.key) if chain else key_from(files))
    if not known:
        raise UserError("the exports do not say what the key is", place=table, hint="Pass it: --key customer_id:S")
    return Chosen(into or table, known, files)


Operation = Put | PutText | Delete
Placed = tuple[tuple[SourceFile, Line], Operation]
_Place = tuple[SourceFile, int, int]  # the line's number and its bytes


def operations(files: Iterable[SourceFile], table: str, key: Sequence[str], refused: list[Refused]) -> Iterator[Placed]:
    for each in files:
        with sources.here(each) as source:
            yield from _operations(source, sources.read(source), table, key, refused)


def _quick_operations(
    files: Iterable[SourceFile], table: str, key: Sequence[str], refused: list[Refused]
) -> Iterator[tuple[_Place, Operation]]:
    """The same. Of most items nothing is parsed but the key."""
    shapes = Shapes(key)
    for each in files:
        with sources.here(each) as source:
            if source.form != "full":
                for (_, line), operation in _operations(source, sources.read(source), table, key, refused):
                    yield (source, line.number, len(line.text)), operation
                continue
            number = 0
            for number, text in enumerate(lines(source.path), 1):
                place = (source, number, len(text))
                if found := shapes.read(text):
                    yield place, PutText(table, *found)
                    continue
                line = sources.checked(source, number, text)
                if line.record and line.record.item and line.record.text:
                    shapes.learn(line.record.item)
                for _, operation in _operations(source, (line,), table, key, refused):
                    yield place, operation
            sources.check_count(source, number)


def _operations(
    source: SourceFile, read: Iterable[Line], table: str, key: Sequence[str], refused: list[Refused]
) -> Iterator[Placed]:
    for line in read:
        record = line.record
        fault = line.fault
        if record is not None:
            item = record.item if record.item is not None else record.keys or {}
            try:
                keys = {name: item[name] for name in key}
            except KeyError as missing:
                fault = f"the item has no {missing}, which is in the key"
            else:
                operation: Operation = Delete(table, keys) if record.item is None else Put(table, keys, item)
                if record.text:
                    operation = PutText(table, orjson.dumps(keys), record.text)
                yield (source, line), operation
                continue
        text = line.text[:_SHOWN_TEXT].decode("utf-8", "replace")
        refused.append(Refused(source.place, line.number, {}, fault, text))


def _refused(place: _Place, rejected: Rejected) -> Refused:
    source, number, _ = place
    return Refused(source.place, number, rejected.operation.key, rejected.reason, "")


def _identified_by(key: Key) -> Callable[[Operation], bytes]:
    """What tells the items of operations apart: where no number is in the key, its JSON as it stands."""
    identity, spelt = identified_by(key), all(kind != "N" for _, kind in key)
    return lambda each: each.key_text if spelt and type(each) is PutText else identity(each.key)


def _batches(
    placed: Iterator[tuple[_Place, Operation]], identity: Callable[[Operation], bytes]
) -> Iterator[tuple[list[Operation], list[_Place]]]:
    """Up to ``_AT_ONCE`` operations or ``_BYTES_AT_ONCE``, and the place of each. No key twice in one batch: a later
    one must be written after an earlier one. What was parsed is let go of, as far as an operation does without.
    """
    batch, places, keys, size = list[Operation](), list[_Place](), set[bytes](), 0
    for place, operation in placed:
        key = identity(operation)
        if key in keys or len(batch) == _AT_ONCE or size > _BYTES_AT_ONCE:
            yield batch, places
            batch, places, keys, size = [], [], set(), 0
        keys.add(key)
        batch.append(operation)
        places.append(place)
        size += place[2]
    if batch:
        yield batch, places


def key_from(files: Iterable[SourceFile]) -> list[tuple[str, str]]:
    """The key as the changes of incremental exports name it; () when there is none among the files."""
    for source in files:
        if source.form in ("incremental", "ion-changes"):
            with sources.here(source) as found:
                for line in islice(sources.read(found), 100):
                    if line.record is not None and line.record.keys:
                        keys: Item = line.record.keys
                        return [(name, next(iter(value))) for name, value in keys.items()]
    return []
