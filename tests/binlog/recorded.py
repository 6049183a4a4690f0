"""What real servers once sent as their binlog, and what their tables held at every step of it: tests/binlog/recordings.

Made by ``python -m tests.binlog.record``; read by tests that need no server. The rows were asked of the server, so what
judges the reader shares no code with it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from whimbrel.mysql.binlog.session import ReplicaSession
from whimbrel.records import Column, Position, Row, Table

FOLDER = Path(__file__).parent / "recordings"


@dataclass
class Step:
    """A statement, where the server's binlog ended after it, and what it did to the captured tables."""

    sql: str
    position: Position
    rows: dict[str, list[Row]]  # by the table's name: those that are new or others than before
    gone: dict[str, list[Any]]  # by the table's name: the first columns of those that were dropped
    tables: dict[str, Table] = field(default_factory=dict)  # those that it altered


@dataclass
class Recording:
    session: ReplicaSession
    start: Position
    use_gtid: bool
    tables: dict[str, Table]
    steps: list[Step]
    packets: list[bytes]
    commands: bytes  # what the server was sent


def save(name: str, recording: Recording) -> None:
    fields = {
        "session": recording.session._asdict() | {"charsets": dict(recording.session.charsets)},
        "start": recording.start,
        "use_gtid": recording.use_gtid,
        "tables": {name: asdict(table) for name, table in recording.tables.items()},
        "steps": [
            {
                "sql": step.sql,
                "position": step.position,
                "rows": step.rows,
                "gone": step.gone,
                "tables": {name: asdict(table) for name, table in step.tables.items()},
            }
            for step in recording.steps
        ],
        "packets": recording.packets,
        "commands": recording.commands,
    }
    plain = json.dumps(fields, default=_bytes, ensure_ascii=False).encode("utf-8", "surrogatepass")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(plain))


def load(name: str) -> Recording:
    fields = json.loads(
        zstandard.ZstdDecompressor().decompress((FOLDER / f"{name}.json.zst").read_bytes()), object_hook=_as_bytes
    )
    session = fields["session"]
    charsets = {int(number): charset for number, charset in session["charsets"].items()}
    steps = [
        Step(
            step["sql"],
            Position(*step["position"]),
            {name: [tuple(row) for row in rows] for name, rows in step["rows"].items()},
            step["gone"],
            {name: _table(table) for name, table in step["tables"].items()},
        )
        for step in fields["steps"]
    ]
    return Recording(
        ReplicaSession(**session | {"charsets": charsets}),
        Position(*fields["start"]),
        fields["use_gtid"],
        {name: _table(table) for name, table in fields["tables"].items()},
        steps,
        fields["packets"],
        fields["commands"],
    )


def _table(fields: dict[str, Any]) -> Table:
    columns = tuple(Column(**column | {"members": tuple(column["members"])}) for column in fields["columns"])
    return Table(fields["schema"], fields["name"], columns, tuple(fields["primary_key"]))


def _bytes(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"base64": b64encode(value).decode()}


def _as_bytes(fields: dict[str, Any]) -> Any:
    return b64decode(fields["base64"]) if fields.keys() == {"base64"} else fields
