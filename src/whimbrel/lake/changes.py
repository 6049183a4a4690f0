"""Incremental exports: what changed since the last export, as one line for each key, in the native layout.

From the table's stream where it has one that reaches back to the last export; else by reading the table again and
comparing it, key by key and in bounded memory, with what the chain of exports says. Either way the window begins where
the last export's ended (for a full one: where it began), so that a chain has no gap.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from whimbrel.dynamodb.streams import open_streams, read_stream
from whimbrel.errors import LogGone, UserError
from whimbrel.item import key_id
from whimbrel.lake.applied import AppliedUpTo
from whimbrel.lake.chain_file import Chain, continued, home, load_chain
from whimbrel.lake.comparing import Comparison
from whimbrel.lake.datasets import locked
from whimbrel.lake.export import ExportedTable, OnItems, ReadLimits, commit
from whimbrel.lake.key_change import BOTH_IMAGES, KeyChange
from whimbrel.lake.manifest import iso, read_time
from whimbrel.lake.native import (
    FOLDER,
    DataWriter,
    Export,
    find_exports,
    incremental_summary,
    new_data_name,
    new_export_id,
    write_manifests,
)
from whimbrel.lake.shared_exports import SharedExports
from whimbrel.project import Target
from whimbrel.spill import PartitionFiles

IMAGES = (BOTH_IMAGES, "NEW_IMAGE")
STREAM_HOURS = 24
# A scan that is not consistent may miss what was written just before it began; clocks differ, too.
MARGIN = timedelta(seconds=60)
_LINES_AT_ONCE, _BYTES_AT_ONCE = 1_000, 4 << 20


def export_changes(
    target: Target,
    folder: Path,
    table: ExportedTable,
    limits: ReadLimits,
    applied: AppliedUpTo | None = None,
    *,
    method: str = "auto",
    shared: SharedExports | None = None,
    stop: threading.Event | None = None,
    on_items: OnItems = lambda items: None,
) -> Export:
    """The changes since the last export of the table; ``method`` is auto, stream or compare. Of a lake in S3,
    ``shared`` are the table's exports there. ``applied`` is up to where the table was written before; a stream does not
    show when it has everything up to there.

    Raises UserError when there is no export to continue from, or the method cannot be used; LogGone when it must be the
    stream and that has forgotten the place; Stopped, Locked, and what reading raises.
    """
    place = home(folder, table.name)
    chain = continued(load_chain(place), table.id, table.name)
    stop = stop or threading.Event()
    with locked(place / ".lock", table.name):
        started = datetime.now(UTC)
        if _by_stream(table, chain, method, started):
            try:
                return _from_stream(target, place, table, chain, started, shared, stop, on_items)
            except LogGone:  # before anything was written; the table itself has all of it
                if method == "stream":
                    raise
        return _by_comparing(target, place, table, chain, limits, started, applied, shared, stop, on_items)


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
    shared: SharedExports | None,
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
        folder = _write(place, table, chain, started, _folded(spill), table.view, shared)
    return commit(folder, replace(chain, last=folder.name, as_of=iso(started), positions=positions), shared)


def _folded(spill: PartitionFiles) -> Iterator[KeyChange]:
    """First old image and last new image of each key."""
    for records in spill.in_passes():
        found: dict[bytes, tuple[bytes, bytes]] = {}
        for key, stored in records:
            found[key] = (found[key][0] if key in found else stored, stored)
        for first, last in found.values():
            yield KeyChange(*orjson.loads(last))._replace(old=KeyChange(*orjson.loads(first)).old)


def _by_comparing(
    target: Target,
    place: Path,
    table: ExportedTable,
    chain: Chain,
    limits: ReadLimits,
    started: datetime,
    applied: AppliedUpTo | None,
    shared: SharedExports | None,
    stop: threading.Event,
    on_items: OnItems,
) -> Export:
    micros = int(started.timestamp() * 1_000_000)
    exports = shared.committed() if shared else find_exports(place)
    with Comparison(place, table, chain, exports) as comparison:
        comparison.read_table(target, limits, stop, on_items)
        folder = _write(place, table, chain, started, comparison.changes(micros), BOTH_IMAGES, shared, applied)
        comparison.save(folder.name)
    # The stream's places are still those of the chain: what they bring again has the same last image.
    later = replace(chain, last=folder.name, as_of=iso(started), stream=table.stream, positions={})
    return commit(folder, later, shared)


def _write(
    place: Path,
    table: ExportedTable,
    chain: Chain,
    started: datetime,
    changes: Iterator[KeyChange],
    view: str,
    shared: SharedExports | None,
    applied: AppliedUpTo | None = None,
) -> Path:
    """The export's folder, written in the order that makes it whole: data file, list of files, summary."""
    export_id, name = new_export_id(), new_data_name()
    folder = place / FOLDER / export_id
    folder.mkdir(parents=True)
    (folder / "_started").touch()
    writer = DataWriter(place / FOLDER / "data" / name, f"{FOLDER}/data/{name}")
    try:
        lines: list[bytes] = []
        size = 0
        for change in changes:
            lines.append(line := change.line(view))
            size += len(line)
            if len(lines) == _LINES_AT_ONCE or size > _BYTES_AT_ONCE:
                writer.write(lines)
                lines, size = [], 0
        writer.write(lines)
        file = writer.close()
        if shared:
            shared.keep(writer.path)
    except BaseException:
        writer.abandon()
        raise
    window = (chain.as_of, iso(started))
    times = (iso(started), iso(datetime.now(UTC)))
    summary = incremental_summary(export_id, table.arn, table.id, times, window, file.items, view)
    write_manifests(folder, summary, [file], applied)
    return folder
