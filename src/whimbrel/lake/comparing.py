"""What changed in a table since its last export, found by reading the table again.

Each item is looked for, by its digest, among the lines of the chain of exports. Only what differs is compared by key
and value: the items that no line has, and the lines whose item is not there any more. These are on disk, in partitions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import StateError, UserError
from whimbrel.item import identified_by, normal
from whimbrel.lake import sources
from whimbrel.lake.chain import chain_of
from whimbrel.lake.chain_file import Chain
from whimbrel.lake.export import THREADS, ExportedTable, OnItems, ReadLimits, page_items
from whimbrel.lake.items import unchecked_item
from whimbrel.lake.key_change import KeyChange
from whimbrel.lake.line_digests import (
    BODY,
    NONE,
    SEEN,
    SUPERSEDED,
    UNSEEN,
    LineDigests,
    digest_of,
    digests_of,
    forget_digests,
    load_digests,
    part_of,
    save_digests,
    text_of,
)
from whimbrel.lake.lines import line_blocks, lines, trimmed
from whimbrel.lake.native import Export
from whimbrel.lake.sources import Line, Record, SourceFile
from whimbrel.project import Target
from whimbrel.records import Item
from whimbrel.spill import PartitionFiles

_PARTITION_BYTES = 16 << 20
_LEAST_PARTITIONS, _MOST_PARTITIONS = 8, 512
_BYTES_OF_A_KEY = 128
_PLACE = 8  # bytes of a line's number
_BEFORE, _NOW = b"b", b"n"


class Comparison:
    """Of a table with what its ``chain`` of ``exports`` says. As a context, it removes in the end what it has on disk.

    Raises StateError for a chain that cannot be read.
    """

    def __init__(self, place: Path, table: ExportedTable, chain: Chain, exports: Sequence[Export]) -> None:
        self._place, self._table = place, table
        self._identity = identified_by(table.key)
        self._added = place / "digests.added"
        self._files = _files_of(place, chain, exports)
        count = sum(source.items or 0 for source in self._files)
        self._digests = load_digests(place, chain.last, count) or self._read_digests(chain.last, count)
        self._differing = PartitionFiles(place / "spill", _partitions(2 * table.bytes))

    def __enter__(self) -> Comparison:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._differing.close()
        self._added.unlink(missing_ok=True)

    def read_table(self, target: Target, limits: ReadLimits, stop: threading.Event, on_items: OnItems) -> None:
        """Read the whole table. Raises what reading raises, and UserError for an item without its key."""
        parts, states = self._digests.parts, self._digests.states
        with (
            PartitionFiles(self._place / "later", parts, hashed=lambda digest: part_of(digest, parts)) as later,
            _keyed(self._table),
        ):
            known = self._digests.part(0)

            def on_page(items: list[Item]) -> None:
                texts = list(map(text_of, items))
                for item, text, digest in zip(items, texts, digests_of(texts), strict=True):
                    if (number := known.get(digest)) is not None:
                        states[number] = SEEN
                    elif parts == 1 or part_of(digest, parts) == 0:
                        self._differing.add(self._identity(item), _NOW + text)
                    else:
                        later.add(digest, text)
                on_items(len(items))

            self._scan(target, limits, stop, on_page)
            for part in range(1, parts):
                known = self._digests.part(part)
                for digest, text in later.partition(part):
                    if (number := known.get(digest)) is not None:
                        states[number] = SEEN
                    else:
                        self._differing.add(self._identity(orjson.loads(text)), _NOW + text)

    def changes(self, micros: int) -> Iterator[KeyChange]:
        """What became of each key that is not what it was. Each becomes one line of the next export, in this order."""
        for number, item in self._lines_gone():
            place = number.to_bytes(_PLACE, "big")
            self._differing.add(self._identity(item), _BEFORE + place + text_of(item))
        with self._added.open("wb") as added:
            for records in self._differing.in_passes():
                before: dict[bytes, bytes] = {}
                now: dict[bytes, bytes] = {}
                for key, stored in records:
                    (before if stored[:1] == _BEFORE else now)[key] = stored[1:]
                for key in before.keys() | now.keys():
                    was, text = before.get(key, b""), now.get(key, b"")
                    if change := _change(was[_PLACE:], text, key, micros):
                        if was:
                            self._digests.states[int.from_bytes(was[:_PLACE], "big")] = SUPERSEDED
                        added.write(digest_of(text) if text else NONE)
                        yield change

    def save(self, last: str) -> None:
        """What the next comparison knows the table by, once the export ``last`` has all changes."""
        save_digests(self._place, last, self._digests.later(self._added))

    def _scan(
        self, target: Target, limits: ReadLimits, stop: threading.Event, on_page: Callable[[list[Item]], None]
    ) -> None:
        with closing(DynamoClient(target)) as wire:
            scan(
                wire,
                self._table.name,
                THREADS,
                on_page,
                consistent=limits.consistent,
                pace=RateLimiter(limits.units),
                page_items=page_items(self._table, limits),
                stop=stop,
            )

    def _lines_gone(self) -> Iterator[tuple[int, Item]]:
        """The lines of the chain whose item the table does not have, with that."""
        first, states = 0, self._digests.states
        for source in self._files:
            end = first + (source.items or 0)
            if states.find(UNSEEN, first, end) >= 0:
                seen = 0
                with sources.here(source) as found:
                    for block in line_blocks(found.path):
                        start, stop = first + seen, min(end, first + seen + len(block))
                        number = states.find(UNSEEN, start, stop)
                        while number >= 0:
                            text = trimmed(block[number - start], number - first + 1)
                            line = sources.checked(source, number - first + 1, text)
                            yield number, self._item_of(source, number, line)
                            number = states.find(UNSEEN, number + 1, stop)
                        seen += len(block)
                sources.check_count(source, seen)
            first = end

    def _item_of(self, source: SourceFile, number: int, line: Line) -> Item:
        item = _sound(source, line).item or {}
        if digest_of(text_of(item)) != self._digests.of(number):
            where = f"{source.place}, line {line.number}"
            raise StateError("it is not what was exported", place=where, hint="Make a full export (--full).")
        return item

    # -- the digests, where there are none -----------------------------------------------------------------------------

    def _read_digests(self, last: str, count: int) -> LineDigests:
        """From all lines. Of those with one key the last one counts."""
        forget_digests(self._place)
        path = self._place / f"{BODY}.read"
        try:
            with PartitionFiles(self._place / "spill", _partitions(count * _BYTES_OF_A_KEY)) as spill:
                with path.open("wb") as file, _keyed(self._table):
                    for number, (key, text) in enumerate(self._exported()):
                        file.write(digest_of(text) if text else NONE)
                        spill.add(key, number.to_bytes(_PLACE, "big"))
                digests = LineDigests(path, count)
                for records in spill.in_passes():
                    latest: dict[bytes, int] = {}
                    for key, place in records:
                        if key in latest:
                            digests.states[latest[key]] = SUPERSEDED
                        latest[key] = int.from_bytes(place, "big")
            save_digests(self._place, last, digests.later())
        finally:
            path.unlink(missing_ok=True)
        return LineDigests(self._place / BODY, count)

    def _exported(self) -> Iterator[tuple[bytes, bytes]]:
        """The identity of the key and the text of the item of every line, in order; no text where it was deleted."""
        quick = all(kind != "N" for _, kind in self._table.key)  # to spell a number it must be one
        for source in self._files:
            number = 0
            with sources.here(source) as file:
                for number, line in enumerate(lines(file.path), 1):
                    if quick and source.form == "full" and (found := unchecked_item(line)):
                        yield self._identity(found[0]), found[1]
                        continue
                    record = _sound(source, sources.checked(source, number, line))
                    yield (
                        self._identity(record.keys or record.item or {}),
                        b"" if record.item is None else text_of(record.item),
                    )
            sources.check_count(source, number)


def _files_of(place: Path, chain: Chain, found: Sequence[Export]) -> list[SourceFile]:
    """The data files of the chain, in order. What a gap lost is found by the comparison, too: it is with what the
    chain's readers have.
    """
    exports = chain_of(found, accepted=None)
    if exports[-1].id != chain.last:
        raise StateError(f"the last export {chain.last} is not there", place=str(place), hint="Make a full export.")
    return [source for export in exports for source in sources.sources(export)]


def _partitions(size: int) -> int:
    return max(_LEAST_PARTITIONS, min(_MOST_PARTITIONS, size // _PARTITION_BYTES))


@contextmanager
def _keyed(table: ExportedTable) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise UserError(f"an item without its key attribute {error}", place=table.name) from None


def _sound(source: SourceFile, line: Line) -> Record:
    if line.record is None:
        where = f"{source.place}, line {line.number}"
        raise StateError(line.fault, place=where, hint="Make a full export (--full).")
    return line.record


def _change(before: bytes, now: bytes, key: bytes, micros: int) -> KeyChange | None:
    old, new = (orjson.loads(text) if text else None for text in (before, now))
    if old is not None and new is not None and _are_same(old, new):
        return None
    image = new or old or {}
    return KeyChange({name: image[name] for name in orjson.loads(key)}, old, new, micros)


def _are_same(old: Item, new: Item) -> bool:
    """Whether nothing differs but the spelling of numbers and sets."""
    return old.keys() == new.keys() and all(
        normal(value) == normal(new[name]) for name, value in old.items() if value != new[name]
    )
