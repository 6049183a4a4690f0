"""The lines of the change log: how the nouns of records.py become JSON lines, and come back exactly.

Every line is one JSON object that ends in ``,"crc":"<8 hex>"}``: the CRC-32 of all bytes before that comma. The kinds
of line, here without it and folded::

    {"type":"Segment","format":1,"segment":2,"after":{"segment":1,"offset":67108991},"total":9,"last":{…}}
    {"type":"Table","schema":"shop","table":"purchase","columns":[{"name":"customerid",…},…],"primary_key":[…]}
    {"schema":"shop","table":"purchase","type":"WriteRowsEvent","row":{"values":{…}},
        "position":{"file":"bin.000001","offset":120}}
    {"schema":"shop","table":"purchase","type":"UpdateRowsEvent","row":{"before_values":{…},"after_values":{…}},
        "position":{…}}
    {"schema":"shop","table":"purchase","type":"DeleteRowsEvent","row":{"values":{…}},"position":{…}}
    {"type":"Commit","position":{"file":"bin.000001","offset":154,"gtid":"…"},"timestamp":1.5,"changes":3,"total":12}

Changes keep the event fields of the AWS post "Near zero downtime migration from MySQL to DynamoDB" (schema, table,
type, row), so a consumer of that format can read them. Values are the canonical ones, bytes as ``{"base64": "…"}``;
columns stand in the order of their table. A change's position is the end of its event, without the GTID set, which may
be long: that is in the Commit line. ``changes`` counts the transaction's changes, ``total`` all since the log began. A
Segment line heads each file: where the one before it ended, and the total and the last Commit there.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, NoReturn
from zlib import crc32

import orjson

from whimbrel.durable import is_sound, sealed
from whimbrel.errors import LogCorrupt, StateError
from whimbrel.records import Change, Column, Commit, Position, Row, Table, Value

FORMAT = 1
# Whatever is not exactly None, int, float or str goes to the fallback, which knows bytes and refuses the rest.
_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class LogPoint(NamedTuple):
    """A place in the change log: the byte after a Commit line, or after the head of a segment. In log order."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a segment: ``after`` is where the previous segment ended (None for the first)."""

    segment: int
    after: LogPoint | None
    total: int
    last: Commit | None


class CommitLine(NamedTuple):
    commit: Commit
    changes: int
    total: int


def is_commit(line: bytes) -> bool:
    return line.startswith(b'{"type":"Commit",')


def head_line(head: Head) -> bytes:
    return _line(
        {
            "type": "Segment",
            "format": FORMAT,
            "segment": head.segment,
            "after": head.after._asdict() if head.after else None,
            "total": head.total,
            "last": _commit_fields(head.last) if head.last else None,
        }
    )


def read_head(line: bytes, place: str) -> Head:
    """The head of a segment. Raises LogCorrupt; StateError when a newer whimbrel wrote it."""
    if not is_sound(line):
        raise LogCorrupt("the first line does not match its checksum", place=place, hint=RESTORE)
    fields = orjson.loads(line)
    if fields.get("type") != "Segment":
        raise LogCorrupt(f"the first line is of type {fields.get('type')!r}, not Segment", place=place, hint=RESTORE)
    if fields["format"] != FORMAT:
        message = f"the change log has format {fields['format']!r}; this version reads format {FORMAT}"
        raise StateError(message, place=place, hint="Continue with the version of whimbrel that wrote it.")
    after, last = fields["after"], fields["last"]
    return Head(
        fields["segment"], LogPoint(**after) if after else None, fields["total"], _commit(last) if last else None
    )


def table_line(table: Table) -> bytes:
    columns = [asdict(column) for column in table.columns]
    return _line(
        {
            "type": "Table",
            "schema": table.schema,
            "table": table.name,
            "columns": columns,
            "primary_key": table.primary_key,
        }
    )


def read_table(fields: Mapping[str, Any]) -> Table:
    columns = tuple(Column(**{**column, "members": tuple(column["members"])}) for column in fields["columns"])
    return Table(fields["schema"], fields["table"], columns, tuple(fields["primary_key"]))


def commit_line(commit: Commit, changes: int, total: int) -> bytes:
    return _line({"type": "Commit", **_commit_fields(commit), "changes": changes, "total": total})


def read_commit(fields: Mapping[str, Any]) -> CommitLine:
    return CommitLine(_commit(fields), fields["changes"], fields["total"])


def change_encoder(table: Table) -> Callable[[Change], bytes]:
    """A function from a Change of ``table`` to its line; it raises StateError for what JSON cannot carry exactly."""
    name = _line_body({"schema": table.schema, "table": table.name})
    write = name + b',"type":"WriteRowsEvent","row":{"values":'
    update = name + b',"type":"UpdateRowsEvent","row":{"before_values":'
    delete = name + b',"type":"DeleteRowsEvent","row":{"values":'
    by_name = _by_name(table)
    fallback = _bytes if _holds_bytes(table) else _no_value
    dumps, crc = orjson.dumps, crc32

    def encode(change: Change) -> bytes:
        _, before, after, (file, offset, _, _) = change
        try:
            if before is None:
                body = write + dumps(by_name(_present(after)), fallback, _STRICT)
            elif after is None:
                body = delete + dumps(by_name(before), fallback, _STRICT)
            else:
                image = dumps(by_name(before), fallback, _STRICT)
                body = b'%b%b,"after_values":%b' % (update, image, dumps(by_name(after), fallback, _STRICT))
            body = b'%b},"position":{"file":%b,"offset":%d}' % (body, dumps(file), offset)
        except (TypeError, ValueError) as error:
            _refuse(change, error)
        return b'%b,"crc":"%08x"}\n' % (body, crc(body))

    return encode


def change_decoder(table: Table) -> Callable[[dict[str, Any]], Change]:
    """The inverse, from the parsed line."""
    as_row = _row_with_bytes if _holds_bytes(table) else _row
    new = tuple.__new__  # a NamedTuple without the cost of its constructor

    def decode(fields: dict[str, Any]) -> Change:
        row, kind, at = fields["row"], fields["type"], fields["position"]
        position = new(Position, (at["file"], at["offset"], "", 0))
        if kind == "WriteRowsEvent":
            return new(Change, (table, None, as_row(row["values"]), position))
        if kind == "UpdateRowsEvent":
            return new(Change, (table, as_row(row["before_values"]), as_row(row["after_values"]), position))
        return new(Change, (table, as_row(row["values"]), None, position))

    return decode


RESTORE = (
    "Nothing was cut off. Restore the file from a copy; if there is none, set the state folder aside "
    "and begin the migration again into a new table"
)

_REPORT = "Please report this: the reader of the source should not have let it through."


def _row(values: dict[str, Value]) -> Row:
    return tuple(values.values())


def _row_with_bytes(values: dict[str, Any]) -> Row:
    return tuple(b64decode(v["base64"]) if type(v) is dict else v for v in values.values())


def _by_name(table: Table) -> Callable[[Row], dict[str, Value]]:
    """A row's values by column name. Raises ValueError for a row of another length, or a float that is not a number."""
    names = table.names
    floats = tuple(i for i, column in enumerate(table.columns) if column.kind in ("float", "double"))

    def plain(row: Row) -> dict[str, Value]:
        return dict(zip(names, row, strict=True))

    def checked(row: Row) -> dict[str, Value]:
        fields = plain(row)
        for i in floats:
            # JSON has no NaN: orjson would write null.
            if row[i] is not None and not math.isfinite(row[i]):  # type: ignore[arg-type]
                raise ValueError(f"{names[i]} is {row[i]!r}, which is not a SQL number")
        return fields

    return checked if floats else plain


def _present(row: Row | None) -> Row:
    if row is None:
        raise ValueError("it has neither a before nor an after image")
    return row


def _holds_bytes(table: Table) -> bool:
    return any(column.kind in ("binary", "geometry") for column in table.columns)


def _no_value(value: object) -> NoReturn:
    raise TypeError(f"a value of type {type(value).__name__} in a table without such a column")


def _bytes(value: object) -> dict[str, str]:
    if type(value) is bytes:
        return {"base64": b64encode(value).decode()}
    raise TypeError(f"a value of type {type(value).__name__}")


def _refuse(change: Change, error: Exception) -> NoReturn:
    # orjson wraps what the fallback raised; the cause says it better.
    reason = error.__cause__ or error
    raise StateError(
        f"a change at {change.position} cannot be written exactly to the change log: {reason}",
        place=change.table.full_name,
        hint=_REPORT,
    ) from error


def _line(fields: Mapping[str, Any]) -> bytes:
    return sealed(_line_body(fields))


def _line_body(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)[:-1]
    except TypeError as error:  # a name that is not Unicode text
        message = f"this cannot be written to the change log: {error}"
        raise StateError(message, place=ascii(fields.get("table", fields.get("type"))), hint=_REPORT) from error


def _commit_fields(commit: Commit) -> dict[str, Any]:
    return {"position": commit.position.as_fields(), "timestamp": commit.timestamp}


def _commit(fields: Mapping[str, Any]) -> Commit:
    return Commit(Position(**fields["position"]), fields["timestamp"])
