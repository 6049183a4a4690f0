"""``whimbrel export``: a table into files of the native export's layout, by a parallel scan that leaves the table's
capacity to the application.

Under ``exports/<table>``: ``AWSDynamoDB/…`` (lake/native.py), ``unfinished.json`` (a full export under way: its
finished segments, each recorded when its file is durable) and ``chain.json`` (where the next incremental export
continues).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file
from whimbrel.dynamodb import answers
from whimbrel.dynamodb.calls import RetryingClient
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan_segment
from whimbrel.dynamodb.session import ask, open_client, translate
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import LogCorrupt, StateError, Stopped
from whimbrel.item import READ_UNIT
from whimbrel.lake.applied import AppliedUpTo, from_fields
from whimbrel.lake.chain_file import Chain, home, save_chain
from whimbrel.lake.datasets import locked
from whimbrel.lake.line_digests import SEGMENTS, digests_of, join_digests, sealed, text_of
from whimbrel.lake.manifest import iso
from whimbrel.lake.native import (
    FOLDER,
    FULL,
    DataWriter,
    Export,
    ExportedFile,
    find_exports,
    full_summary,
    new_data_name,
    new_export_id,
    read_export,
    write_manifests,
)
from whimbrel.lake.shared_exports import SharedExports
from whimbrel.project import Target
from whimbrel.project.section import is_plain_name

UNFINISHED = "unfinished.json"
THREADS = 4
_PAGE_BYTES = 256 << 10  # of items, which take up to 40 times as much in memory; each thread has one or two pages
_PAGE_ITEMS = 200  # at most: what the table says of its size is six hours old
_SEGMENT_BYTES = 64 << 20  # of the table: what a resume reads again at most, for each thread
_MOST_SEGMENTS = 4_096
_ON_DEMAND_UNITS = 12_000.0  # read units per second that a new on-demand table takes

OnItems = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """What DescribeTable says. ``key`` has (name, type) pairs; ``units`` are the read units per second of the table."""

    name: str
    arn: str
    id: str
    key: tuple[tuple[str, str], ...]
    items: int
    bytes: int
    units: float
    stream: str
    view: str


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """``units``: read units per second at most, 0 for none; see ``read_limits``."""

    units: float = 0.0
    segments: int = 0
    consistent: bool = False


def facts(target: Target, table: str) -> ExportedTable:
    """Raises RequestRefused when there is no such table, TargetUnreachable, UserError."""
    try:
        described = ask(open_client(target).describe_table, partial(answers.described, table), table, TableName=table)
    except Exception as error:
        translate(error, table)
    types = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    stream = described.get("StreamSpecification", {})
    return ExportedTable(
        name=table,
        arn=described.get("TableArn", f"arn:aws:dynamodb:::table/{table}"),
        id=str(described.get("TableId") or described["CreationDateTime"]),
        key=tuple((each["AttributeName"], types[each["AttributeName"]]) for each in described["KeySchema"]),
        items=described.get("ItemCount", 0),
        bytes=described.get("TableSizeBytes", 0),
        units=_table_units(described),
        stream=described.get("LatestStreamArn", "") if stream.get("StreamEnabled") else "",
        view=stream.get("StreamViewType", ""),
    )


def prove_readable(target: Target, table: ExportedTable) -> None:
    """One item is read. Raises PrivilegeError, RequestRefused, TargetUnreachable."""
    try:
        open_client(target).scan(TableName=table.name, Limit=1)
    except Exception as error:
        translate(error, table.name)


def read_limits(table: ExportedTable, share: float, most: float, segments: int, consistent: bool) -> ReadLimits:
    """The ``share`` of the table's own read capacity, and no more than ``most`` (0: no further cap)."""
    units = table.units * share
    return ReadLimits(min(units, most) if most else units, segments, consistent)


def export_full(
    target: Target,
    folder: Path,
    table: ExportedTable,
    limits: ReadLimits,
    applied: AppliedUpTo | None = None,
    *,
    shared: SharedExports | None = None,
    stop: threading.Event | None = None,
    on_items: OnItems = lambda items: None,
) -> Export:
    """The whole table. Continues an export of the same table that was stopped: its finished segments are kept.
    Of a lake in S3, ``shared`` are the table's exports there. ``applied`` is up to where the table was written before.

    Items that are written while it runs may be in it or not; the next incremental export begins at its start, so that
    a chain has them all. Raises Stopped, Locked, RequestRefused, PrivilegeError, OSError.
    """
    place = home(folder, table.name)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / ".lock", table.name), closing(DynamoClient(target)) as wire:
        run = _begin(place, table, limits, applied)
        threads = min(THREADS, run.segments)
        calls = RetryingClient(
            wire,
            RateLimiter(limits.units),
            ConcurrencyLimit(threads),
            stop or threading.Event(),
            failed := threading.Event(),
        )
        left = [number for number in range(run.segments) if str(number) not in run.done]
        on_items(sum(each.items for each in run.done.values()))
        with ThreadPoolExecutor(threads) as pool:
            reads = [
                pool.submit(_export_segment, place, calls, table, run, number, limits, shared, on_items)
                for number in left
            ]
            wait(reads, return_when=FIRST_EXCEPTION)
            failed.set()  # where one failed, the others are given up: what is finished is recorded
        for read in sorted(reads, key=lambda read: isinstance(read.exception(), Stopped)):
            read.result()
        return _finish(place, table, run, shared)


def prune(folder: Path, table: str, keep: int) -> list[str]:
    """Remove all but the last ``keep`` full exports, and the incremental ones of those that go; the ids that went."""
    place = home(folder, table)
    exports = find_exports(place)
    full = [each for each in exports if each.kind == FULL]
    if len(full) <= keep:
        return []
    first = full[-keep]
    going = [each for each in exports if each.as_of < first.as_of]
    kept = {path for each in exports if each.as_of >= first.as_of for path in each.paths}
    for each in going:
        for name in ("manifest-summary.json", "manifest-summary.md5"):  # from here on it does not count as an export
            (each.folder / name).unlink(missing_ok=True)
        for path in each.paths:
            if path not in kept:
                path.unlink(missing_ok=True)
        shutil.rmtree(each.folder)
    return [each.id for each in going]


@dataclass
class _Run:
    id: str
    table_id: str
    start: str
    segments: int
    done: dict[str, ExportedFile]
    applied: AppliedUpTo | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, place: Path, segment: int, file: ExportedFile) -> None:
        with self.lock:
            self.done[str(segment)] = file
            self.save(place)

    def save(self, place: Path) -> None:
        done = {number: list(file) for number, file in self.done.items()}
        values: dict[str, Any] = {"id": self.id, "table_id": self.table_id, "start": self.start}
        values |= {"segments": self.segments, "applied": self.applied.as_fields() if self.applied else None}
        replace_file(place / UNFINISHED, orjson.dumps(values | {"done": done}) + b"\n")


def _begin(place: Path, table: ExportedTable, limits: ReadLimits, applied: AppliedUpTo | None) -> _Run:
    path = place / UNFINISHED
    if path.exists():
        try:
            values = orjson.loads(path.read_bytes())
            done = {number: ExportedFile(*file) for number, file in values.pop("done").items()}
            since = from_fields(values.pop("applied", None))  # of when it began: some segments are of then
            run = _Run(**values, done=done, applied=since if applied else None)
            if not is_plain_name(run.id):
                raise ValueError(f"{run.id!r} is not an id")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LogCorrupt(f"not a record of an export: {error}", place=str(path), hint="Remove it.") from error
        if run.table_id == table.id:
            (place / SEGMENTS).mkdir(exist_ok=True)  # none, of an earlier version
            return run
        shutil.rmtree(place / FOLDER / run.id, ignore_errors=True)  # of a table that is not there any more
    segments = limits.segments or min(_MOST_SEGMENTS, max(THREADS, -(-table.bytes // _SEGMENT_BYTES)))
    run = _Run(new_export_id(), table.id, iso(datetime.now(UTC)), segments, {}, applied)
    (place / FOLDER / run.id / "data").mkdir(parents=True)
    (place / FOLDER / run.id / "_started").touch()
    (place / SEGMENTS).mkdir(exist_ok=True)
    run.save(place)
    return run


def _export_segment(
    place: Path,
    calls: RetryingClient,
    table: ExportedTable,
    run: _Run,
    segment: int,
    limits: ReadLimits,
    shared: SharedExports | None,
    on_items: OnItems,
) -> None:
    name = new_data_name()
    writer, digests = DataWriter(place / FOLDER / run.id / "data" / name, f"{FOLDER}/{run.id}/data/{name}"), bytearray()
    try:
        for page in scan_segment(
            calls,
            table.name,
            segment,
            run.segments,
            consistent=limits.consistent,
            page_items=page_items(table, limits),
        ):
            # In the item's own order: a data set has its columns, and a model its inputs, as they are first seen.
            writer.write([orjson.dumps({"Item": item}) for item in page])
            digests += b"".join(digests_of(map(text_of, page)))
            on_items(len(page))
        file = writer.close()
        (place / SEGMENTS / name).write_bytes(sealed(bytes(digests)))
        if shared:
            shared.keep(writer.path)
    except BaseException:
        writer.abandon()
        raise
    run.record(place, segment, file)


def _finish(place: Path, table: ExportedTable, run: _Run, shared: SharedExports | None) -> Export:
    files = [run.done[str(number)] for number in range(run.segments)]
    folder, names = place / FOLDER / run.id, {Path(file.key).name for file in files}
    for path in (folder / "data").iterdir():  # a file that was whole when we were killed, before it was recorded
        if path.name not in names:
            path.unlink()
    if shared:
        shared.forget_data(folder, names)
    times = (run.start, iso(datetime.now(UTC)))
    summary = full_summary(run.id, table.arn, table.id, times, sum(file.items for file in files))
    write_manifests(folder, summary, files, run.applied)
    join_digests(place, run.id, [(Path(file.key).name, file.items) for file in files])
    try:
        made = commit(folder, Chain(table.id, table.key, run.id, run.start, table.stream), shared)
    except StateError:  # another process made one meanwhile, or removed the data: nothing of it is there to continue
        if shared:
            (place / UNFINISHED).unlink()
        raise
    (place / UNFINISHED).unlink()
    return made


def commit(folder: Path, chain: Chain, shared: SharedExports | None) -> Export:
    """Make the export in ``folder`` the one that the next one continues from. Raises Locked where another process has
    done so with one of its own.
    """
    if shared:
        return shared.commit(folder, chain)
    save_chain(folder.parents[1], chain)
    return read_export(folder)


def page_items(table: ExportedTable, limits: ReadLimits) -> int:
    """So few items a page that it takes little memory, and no more units than a second has."""
    if not table.items:
        return _PAGE_ITEMS
    size = max(1, table.bytes // table.items)
    page = min(_PAGE_ITEMS, _PAGE_BYTES // size)
    if limits.units:
        page = min(page, int(limits.units * READ_UNIT * (1 if limits.consistent else 2) / size))
    return max(1, page)


def _table_units(described: Any) -> float:
    """Provisioned read units; of an on-demand table its own limit, what it is warmed for, or what a new one takes."""
    provisioned = float(described.get("ProvisionedThroughput", {}).get("ReadCapacityUnits") or 0)
    if provisioned:
        return provisioned
    limit = float(described.get("OnDemandThroughput", {}).get("MaxReadRequestUnits") or 0)
    warm = float(described.get("WarmThroughput", {}).get("ReadUnitsPerSecond") or 0)
    return limit if limit > 0 else warm or _ON_DEMAND_UNITS
