"""Every reader of bytes that somebody else may have made, as a function of those bytes: the targets of ``make fuzz``.

Each ends, or raises what its documentation says; anything else is a fault. ``tests/fuzz/corpus/NAME`` has inputs of
every form, and those that were once faults: ``make test`` reads them all again.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import orjson

from tests.binlog.recorded import Recording, load
from tests.binlog.replay import event, replayed, whole
from tests.fuzz.http import http
from whimbrel.checkpoint import load as load_checkpoint
from whimbrel.dms.read import read_rules
from whimbrel.errors import ProjectError, UserError, WhimbrelError
from whimbrel.item import normal_item
from whimbrel.lake import sources
from whimbrel.lake.items import BadLine, check_item, load_json
from whimbrel.mysql.binlog.lexer import Dialect
from whimbrel.mysql.binlog.statements import read_statement
from whimbrel.prediction.serve.bodies import CSV, JSON, JSON_LINES, RECORDIO, BodyError, rows_of
from whimbrel.project import load_project
from whimbrel.records import Column, Table

_INPUTS = ("age", "job", "balance")
_CAPTURED = {("shop", "t"): Table("shop", "t", (Column("id", "int", type_name="int(11)"),), ("id",))}
_EVENT = struct.Struct("<HB")  # the length of an event's body, and its type


def _body(content_type: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with suppress(BodyError):
            for rows in rows_of(data, content_type, _INPUTS, 100):
                assert all(isinstance(row, (list, tuple, dict)) for row in rows)

    return read


def item(data: bytes) -> None:
    """A line of an export. What is taken is taken whole: its normal form is an item again, and normal."""
    try:
        found = check_item(load_json(data))
    except BadLine:
        return
    normal = normal_item(found)
    assert normal_item(check_item(load_json(orjson.dumps(normal)))) == normal


def export_file(data: bytes) -> None:
    """A file to convert, of any form; the first byte says whether it is called CSV. Each line is a record, or
    has a reason why it is none.
    """
    with tempfile.TemporaryDirectory() as folder, suppress(WhimbrelError):
        path = Path(folder) / ("t.csv" if data[:1] == b"," else "t")
        path.write_bytes(data[1:])
        for source in sources.prepared(sources.find(path).files, {}):
            for line in sources.read(source):
                assert (line.record is None) == bool(line.fault)


def project(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whimbrel.toml"
        path.write_bytes(data)
        with suppress(ProjectError, UserError):
            load_project(path)


def dms_rules(data: bytes) -> None:
    with suppress(ProjectError):
        read_rules(data.decode("utf-8", "replace"))


def checkpoint(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.json"
        path.write_bytes(data)
        with suppress(WhimbrelError):
            load_checkpoint(path)


def statement(data: bytes) -> None:
    """The first byte says for whom, and under which sql_mode; nothing is raised whatever the text."""
    if data:
        dialect = Dialect(bool(data[0] & 1), 101_106 if data[0] & 1 else 90_700, (data[0] >> 1) * 4)
        read_statement(data[1:].decode("utf-8", "replace"), "shop", _CAPTURED, dialect)


def binlog(data: bytes) -> None:
    """Events after a table's map: what they say may be anything, their lengths and checksums are right."""
    recording = _recording()
    stream = _framed(recording, data)
    schema = next(iter(recording.tables.values())).schema
    tables = {(schema, name): table for name, table in recording.tables.items()}
    with suppress(WhimbrelError):
        replayed(recording.session, stream, recording.start, tables, use_gtid=False, hidden=lambda table: 0)


@cache
def _recording() -> Recording:
    return load("mariadb-three")


def _first_rows(recording: Recording) -> int:
    return next(at for at, packet in enumerate(recording.packets) if packet[5] in (23, 30))


def _framed(recording: Recording, data: bytes) -> bytes:
    """The recording up to its first rows, then the events that ``data`` has: a length, a type and a body each."""
    rows = _first_rows(recording)
    packets, at, end = recording.packets[:rows], 0, 100_000
    while at + _EVENT.size <= len(data):
        length, kind = _EVENT.unpack_from(data, at)
        body = data[at + _EVENT.size :][:length]
        at += _EVENT.size + length
        end += 19 + len(body) + 4
        packets.append(event(kind, body, end))
    return whole(packets)


def events_of(recording: Recording) -> bytes:
    """The events after the first rows as ``binlog`` takes them: what its corpus begins with."""
    rows = _first_rows(recording)
    events = (packet[1:-4] for packet in recording.packets[rows:])
    return b"".join(_EVENT.pack(len(each) - 19, each[4]) + each[19:] for each in events)


READERS: dict[str, Callable[[bytes], None]] = {
    "csv": _body(CSV),
    "json": _body(JSON),
    "jsonlines": _body(JSON_LINES),
    "recordio": _body(RECORDIO),
    "http": http,
    "item": item,
    "export_file": export_file,
    "project": project,
    "dms_rules": dms_rules,
    "checkpoint": checkpoint,
    "statement": statement,
    "binlog": binlog,
}
