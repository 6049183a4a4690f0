"""What the captured tables were, from the start on: ``tables.jsonl`` in the state folder.

The first line has the time of the start and the rules that the migration began with, those after it the tables, each
with the Position from which it was so: the start, or the end of the ALTER that made it so. A line is durable before any
row is decoded by it, and what was once found out is never found out again: by then the source may describe a later
version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import append, is_sound, replace_file, sealed, sealed_json, writing
from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.mysql.altered import Altered
from whimbrel.project import TableRule
from whimbrel.records import Position, Table
from whimbrel.snapshot_files import table_from_json, table_to_json

Name = tuple[str, str]  # schema and table
_HINT = f"Restore it from a copy of the state folder, or {BEGIN_AGAIN}."


class History:
    """The versions of each table; opened by ``begin`` or ``load``. Only the capture adds to it."""

    def __init__(self, path: Path, lines: list[bytes]) -> None:
        self._path = path
        self._versions: dict[Name, list[tuple[Position, Altered]]] = {}
        try:
            first, *others = [orjson.loads(line) for line in lines]
            self.rules: list[dict[str, Any]] = first["rules"]
            self._begun = int(first["tables"])
            self.began = float(first.get("began", 0.0))
            for fields in others:
                self._take(fields)
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"cannot be read: {error!r}", place=str(path), hint=_HINT) from error
        self.digest = blake2b(b"\n".join(lines[: 1 + self._begun]), digest_size=16).hexdigest()

    def starts(self) -> dict[Name, Table]:
        """Each table as it was when the migration began."""
        return {name: versions[0][1].table for name, versions in self._versions.items()}

    def at(self, position: Position) -> dict[Name, Table]:
        """Each table as it was at ``position``."""
        return {
            name: [found.table for since, found in versions if position.at_or_after(since)][-1]
            for name, versions in self._versions.items()
        }

    def versions(self, name: Name) -> list[tuple[Position, Altered]]:
        """All that the table has been, the first one first, each with the Position from which it was so."""
        return list(self._versions[name])

    def since(self, name: Name, position: Position) -> Altered | None:
        """What an ALTER that ended exactly at ``position`` is known to have made of the table."""
        return next((found for since, found in self._versions[name][1:] if since.order == position.order), None)

    def columns(self, name: Name) -> frozenset[str]:
        """Every column that the table has had."""
        return frozenset(column for _, found in self._versions.get(name, ()) for column in found.table.names)

    def add(self, position: Position, found: Altered) -> None:
        """Durable when it returns."""
        line = _table_line(position, found)
        with writing(self._path):
            append(self._path, line)
        self._take(orjson.loads(line))

    def _take(self, fields: Mapping[str, Any]) -> None:
        table = table_from_json(fields["table"])
        versions = self._versions.setdefault((table.schema, table.name), [])
        since = Position(**fields["since"])
        if versions and not since.at_or_after(versions[-1][0]):
            raise ValueError(f"the table {table.full_name} of {since} stands after that of {versions[-1][0]}")
        versions.append((since, Altered(table, frozenset(fields["replaced"]))))


def begin(path: Path, rules: Iterable[TableRule], tables: Iterable[Table], start: Position, began: float) -> History:
    """Rewritten, durably; ``began`` is the source's clock at the start. Raises StateError."""
    captured = list(tables)
    first = sealed(
        orjson.dumps({"began": began, "tables": len(captured), "rules": [asdict(rule) for rule in rules]})[:-1]
    )
    with writing(path):
        replace_file(path, first + b"".join(_table_line(start, Altered(table, frozenset())) for table in captured))
    return load(path)


def load(path: Path) -> History:
    """Raises StateError if it is not there or damaged. A last line that a crash cut short is removed."""
    try:
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(path, end)
    except OSError as error:
        raise StateError(f"cannot be read: {error.strerror}", place=str(path), hint=_HINT) from error
    lines = data[:end].splitlines()
    if not lines or not all(map(is_sound, lines)):
        raise StateError("a line does not match its checksum", place=str(path), hint=_HINT)
    return History(path, lines)


def _table_line(position: Position, found: Altered) -> bytes:
    fields = {
        "since": position.as_fields(),
        "table": table_to_json(found.table),
        "replaced": sorted(found.replaced),
    }
    return sealed_json(fields)
