"""Incremental exports: what changed since the last export, as one line for each key, in the native layout.

From the table's stream where it has one that reaches back to the last export; else by reading the table again and
comparing it, key by key and in bounded memory, with what the chain of exports says. Either way the window begins where
the last export's ended (for a full one: where it began), so that a chain has no gap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.streams import open_streams, read_stream
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import LogGone, StateError, UserError
from whimbrel.item import identified_by, key_id, normal_item
from whimbrel.lake import sources
from whimbrel.lake.chain import chain_of
from whimbrel.lake.datasets import locked
from whimbrel.lake.export import (
    THREADS,
    Chain,
    ExportedTable,
    OnItems,
    ReadLimits,
    home,
    load_chain,
    page_items,
    save_chain,
)
from whimbrel.lake.items import BadLine, check_item, unchecked_item
from whimbrel.lake.lines import lines
from whimbrel.lake.manifest import iso, read_time
from whimbrel.lake.native import (
    FOLDER,
    DataWriter,
    Export,
    find_exports,
    incremental_summary,
    new_data_name,
    new_export_id,
    read_export,
    write_manifests,
)
from whimbrel.lake.sources import Line, Record, SourceFile
from whimbrel.project import Target
from whimbrel.records import Item
from whimbrel.spill import PartitionFiles

IMAGES = ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")
STREAM_HOURS = 24
# A scan that is not consistent may miss what was written just before it began; clocks differ, too.
MARGIN = timedelta(seconds=60)
_LINES_AT_ONCE, _BYTES_AT_ONCE = 1_000, 4 << 20
_PARTITION_BYTES = 16 << 20
_BYTES_OF_A_PASS = 32 << 20
_BEFORE, _NOW = b"b", b"n"


class KeyChange(NamedTuple):
    """What became of one key in the window; ``micros`` is when, since the epoch."""

    keys: Item
    old: Item | None
    new: Item | None
    micros: int


def export_changes(
    target: Target,
    folder: Path,
    table: ExportedTable,
    limits: ReadLimits,
    *,
    method: str = "auto",
    stop: threading.Event | None = None,
    on_items: OnItems = lambda items: None,
) -> Export:
    """The changes since the last export of the table; ``method`` is auto, stream or compare.

    Raises UserError when there is no export to continue from, or the method cannot be used; LogGone when it must be the
    stream and that has forgotten the place; Stopped, Locked, and what reading raises.
    """
    place = home(folder, table.name)
    chain = load_chain(place)
    if chain is None or chain.table_id != table.id:
        why = "there is no full export yet" if chain is None else "the table was recreated after the last export"
        raise UserError(why, place=table.name, hint=f"Make one with: whimbrel export {table.name} --full")
    stop = stop or threading.Event()
    with locked(place / ".lock", table.name):
        started = datetime.now(UTC)
        if _by_stream(table, chain, method, started):
            try:
                return _from_stream(target, place, table, chain, started, stop, on_items)
            except LogGone:  # before anything was written; the table itself has all of it
                if method == "stream":
                    raise
        return _by_comparing(target, place, table, chain, limits, started, stop, on_items)


def _by_stream(table: ExportedTable, chain: Chain, method: str, now: datetime) -> bool:
    reason = _why_no_stream(table, chain, now)
    if method == "stream" and reason:
        raise UserError(reason, place=table.name, hint="Export by comparing (--compare) or in full (--full).")
    return method != "compare" and not reason


def _why_no_stream(table: ExportedTable, chain: Chain, now: datetime) -> str:
    if not table.stream:
        return "the table has no stream"
    if table.view not in IMAGES:
        return f"the table's stream has {table.view}, not new images"
    if table.stream != chain.stream:
        return "the table's stream is younger than the last export"
    if now - read_time(chain.as_of) > timedelta(hours=STREAM_HOURS) - MARGIN:
        return f"the last export is older than the {STREAM_HOURS} hours that a stream keeps"
    return ""


def _from_stream(
    target: Target,
    place: Path,
    table: ExportedTable,
    chain: Chain,
    started: datetime,
    stop: threading.Event,
    on_items: OnItems,
) -> Export:
    """The last change of each key decides. A key that was inserted and deleted is written as deleted: the full export,
    which ran at the same time, may have seen it.
    """
    positions = dict(chain.positions)
    since = read_time(chain.as_of) - MARGIN
    with PartitionFiles(place / "spill", 64) as spill:
        for record in read_stream(open_streams(target), table.stream, chain.positions, stop):
            positions[record.shard] = record.sequence
            if chain.positions or record.created >= since:  # what is older, the full export has seen
                micros = int(record.created.timestamp() * 1_000_000)
                change = [record.keys, record.old, record.new, micros]
                spill.add(key_id(record.keys), orjson.dumps(change))
                on_items(1)
        made = _write(place, table, chain, started, _folded(spill), table.view)
    save_chain(place, replace(chain, last=made.id, as_of=made.as_of, positions=positions))
    return made


def _folded(spill: PartitionFiles) -> Iterator[KeyChange]:
    """First old image and last new image of each key."""
    for records in _passes(spill):
        found: dict[bytes, tuple[bytes, bytes]] = {}
        for key, stored in records():
            found[key] = (found[key][0] if key in found else stored, stored)
        for first, last in found.values():
            yield KeyChange(*orjson.loads(last))._replace(old=KeyChange(*orjson.loads(first)).old)


_Records = Callable[[], Iterator[tuple[bytes, bytes]]]


def _passes(spill: PartitionFiles) -> Iterator[_Records]:
    """The records of each partition; of one that does not fit in memory in several passes, each key's in one."""
    for number in range(spill.partitions):
        passes = 1 + spill.size(number) // _BYTES_OF_A_PASS
        for each in range(passes):
            yield partial(_pass, spill, number, each, passes)


def _pass(spill: PartitionFiles, number: int, each: int, passes: int) -> Iterator[tuple[bytes, bytes]]:
    return (record for record in spill.partition(number) if hash(record[0]) % passes == each)


def _by_comparing(
    target: Target,
    place: Path,
    table: ExportedTable,
    chain: Chain,
    limits: ReadLimits,
    started: datetime,
    stop: threading.Event,
    on_items: OnItems,
) -> Export:
    with PartitionFiles(place / "spill", max(8, min(512, 2 * table.bytes // _PARTITION_BYTES))) as spill:
        identity = identified_by(table.key)
        with _keyed(table):
            for key, text in _exported(place, chain, table):
                spill.add(key, _BEFORE + text)

        def on_page(items: list[Item]) -> None:
            with _keyed(table):
                for item in items:
                    spill.add(identity(item), _NOW + _text(item))
            on_items(len(items))

        with closing(DynamoClient(target)) as wire:
            pace = RateLimiter(limits.units)
            scan(
                wire,
                table.name,
                THREADS,
                on_page,
                consistent=limits.consistent,
                pace=pace,
                page_items=page_items(table, limits),
                stop=stop,
            )
        micros = int(started.timestamp() * 1_000_000)
        made = _write(place, table, chain, started, _differences(spill, micros), "NEW_AND_OLD_IMAGES")
    # The stream's places are still those of the chain: what they bring again has the same last image.
    save_chain(place, replace(chain, last=made.id, as_of=made.as_of, stream=table.stream, positions={}))
    return made


@contextmanager
def _keyed(table: ExportedTable) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise UserError(f"an item without its key attribute {error}", place=table.name) from None


def _exported(place: Path, chain: Chain, table: ExportedTable) -> Iterator[tuple[bytes, bytes]]:
    """The identity of the key and the text of the item of every line of the chain, in order; no text where it was
    deleted. Raises StateError.
    """
    identity = identified_by(table.key)
    quick = all(kind != "N" for _, kind in table.key)  # to spell a number it must be one
    # What a gap lost is found by the comparison, too: it is with what the chain's readers have.
    exports = chain_of(find_exports(place), accepted=None)
    if exports[-1].id != chain.last:
        raise StateError(f"the last export {chain.last} is not there", place=str(place), hint="Make a full export.")
    for export in exports:
        for source in sources.sources(export):
            if quick and source.form == "full":
                yield from _quickly(source, identity)
                continue
            for line in sources.read(source):
                record = _sound(source, line)
                yield identity(record.keys or record.item or {}), _text(record.item)


def _quickly(source: SourceFile, identity: Callable[[Item], bytes]) -> Iterator[tuple[bytes, bytes]]:
    """As above, of a full export. An item's values are checked where it turns out to differ: what DynamoDB has itself
    needs no check.
    """
    number = 0
    for number, line in enumerate(lines(source.path), 1):
        if found := unchecked_item(line):
            item, text = found
        else:
            item = _sound(source, sources.checked(source, number, line)).item or {}
            text = _text(item)
        yield identity(item), text
    sources.check_count(source, number)


def _sound(source: SourceFile, line: Line) -> Record:
    if line.record is None:
        where = f"{source.path}, line {line.number}"
        raise StateError(line.fault, place=where, hint="Make a full export (--full).")
    return line.record


def _text(item: Item | None) -> bytes:
    """Empty where there is none."""
    return b"" if item is None else orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


def _differences(spill: PartitionFiles, micros: int) -> Iterator[KeyChange]:
    """Most items are what they were, and so are their texts. The others are compared by value."""
    for records in _passes(spill):
        before: dict[bytes, bytes] = {}
        now: dict[bytes, bytes] = {}
        for key, stored in records():  # of a key first what it was, of which the last counts
            if stored[:1] == _BEFORE:
                before[key] = stored[1:]
            else:
                text, was = stored[1:], before.get(key)
                now[key] = was if was == text else text  # the same object, of most
        for key in before.keys() | now.keys():
            if (was := before.get(key, b"")) is not (text := now.get(key, b"")) and (
                change := _change(was, text, key, micros)
            ):
                yield change


def _change(before: bytes, now: bytes, key: bytes, micros: int) -> KeyChange | None:
    old, new = (orjson.loads(text) if text else None for text in (before, now))
    try:
        check_item(old or {})
    except BadLine as error:
        message = f"an item of the exports is not one: {error}"
        raise StateError(message, place=key.decode(), hint="Make a full export (--full).") from None
    if old == new or (old is not None and new is not None and _same(old, new)):
        return None
    image = new or old or {}
    return KeyChange({name: image[name] for name in orjson.loads(key)}, old, new, micros)


def _same(one: Item, other: Item) -> bool:
    return normal_item(one) == normal_item(other)


def _write(
    place: Path, table: ExportedTable, chain: Chain, started: datetime, changes: Iterator[KeyChange], view: str
) -> Export:
    """The export, in the order that makes it whole: data file, list of files, summary."""
    export_id, name = new_export_id(), new_data_name()
    folder = place / FOLDER / export_id
    folder.mkdir(parents=True)
    (folder / "_started").touch()
    writer = DataWriter(place / FOLDER / "data" / name, f"{FOLDER}/data/{name}")
    try:
        lines: list[bytes] = []
        size = 0
        for change in changes:
            lines.append(line := _line(change, view))
            size += len(line)
            if len(lines) == _LINES_AT_ONCE or size > _BYTES_AT_ONCE:
                writer.write(lines)
                lines, size = [], 0
        writer.write(lines)
        file = writer.close()
    except BaseException:
        writer.abandon()
        raise
    window = (chain.as_of, iso(started))
    times = (iso(started), iso(datetime.now(UTC)))
    summary = incremental_summary(export_id, table.arn, table.id, times, window, file.items, view)
    write_manifests(folder, summary, [file])
    return read_export(folder)


def _line(change: KeyChange, view: str) -> bytes:
    line: dict[str, object] = {"Metadata": {"WriteTimestampMicros": {"N": str(change.micros)}}, "Keys": change.keys}
    if change.old is not None and view == "NEW_AND_OLD_IMAGES":
        line["OldImage"] = change.old
    if change.new is not None:
        line["NewImage"] = change.new
    return orjson.dumps(line)
