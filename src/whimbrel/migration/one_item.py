"""One key on both sides: the source's rows, the item, whether they agree, and the changes that are in the log."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from whimbrel.changelog.search import LoggedChange, find_changes
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import ProjectError, UserError
from whimbrel.item import item_size
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.dead import plain_values
from whimbrel.migration.differences import TableReport
from whimbrel.migration.prepare import Prepared, lineage_of, prepare
from whimbrel.migration.second_look import Applied, SecondLook
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import Mysql, connect, quoted
from whimbrel.mysql.points import read_rows
from whimbrel.project import Project
from whimbrel.records import Item, Row, Table

MOST_ROWS = 100  # of one item


@dataclass(frozen=True, slots=True)
class OneItem:
    """``rows`` are all of the item, as JSON has them. ``expected`` is what they make, ``found`` what the target has;
    each None where there is none. ``agree`` only says how it is now: a change may be on its way. ``changes`` are those
    that the log still has of the row, newest first; ``whole_log``: it was read to its beginning.
    """

    source: str
    target: str
    key: Item | None
    rows: tuple[dict[str, Any], ...]
    expected: Item | None
    found: Item | None
    bytes: int | None
    agree: bool
    dead_letters: tuple[str, ...]
    changes: tuple[LoggedChange, ...]
    whole_log: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"changes": [each._asdict() for each in self.changes]}


def key_columns(project: Project) -> dict[str, tuple[str, ...]]:
    """The columns of each table's primary key, by the rule's name."""
    return {name: mapping.table.primary_key for name, mapping in prepare(project).mappings.items()}


def one_item(project: Project, name: str, key: Mapping[str, str]) -> OneItem:
    """``key`` has the primary key's columns as text, bytes as ``0x…``.

    Raises ProjectError for an unknown table, UserError for a key that is not whole, or whose item can only be found by
    reading the whole table; SourceError, TargetError.
    """
    prepared = prepare(project)
    mapping = prepared.mappings.get(name)
    if mapping is None:
        hint = f"There are: {', '.join(list(prepared.mappings)[:20])}"
        raise ProjectError(f"there is no [[table]] for {name}", place=str(project.path), hint=hint)
    if not mapping.invertible:
        raise UserError("an expression makes its key: its rows are found only by reading all", place=name)
    with closing(connect(project.source)) as connection, closing(DynamoClient(project.target)) as wire:
        rows = _rows_of_key(connection, mapping.table, key)
        place = _item_key(mapping, rows, key)
        look = _look(prepared, connection, mapping, wire)
        seen = look.at(place) if place else None
    changes = find_changes(StateFolder(project.state).log, (mapping.table.schema, mapping.table.name), _of_log(key))
    shown = seen.rows[mapping.source] if seen else rows
    found = seen.found if seen else None
    return OneItem(
        source=name,
        target=mapping.target,
        key=place,
        rows=tuple(plain_values(dict(zip(mapping.table.names, row, strict=True))) for row in shown[:MOST_ROWS]),
        expected=seen.expected if seen else None,
        found=found,
        bytes=item_size(found) if found else None,
        agree=bool(seen and seen.agree),
        dead_letters=seen.faults if seen else tuple(each.reason for each in mapping.put_items(rows)[1]),
        changes=tuple(changes.changes),
        whole_log=changes.whole,
    )


def _look(prepared: Prepared, connection: Mysql, mapping: TableMapping, wire: DynamoClient) -> SecondLook:
    together = [each for each in prepared.mappings.values() if each.target == mapping.target]
    report, applied = TableReport(mapping.source, mapping.target), Applied(lambda: None)
    folder, stop = StateFolder(prepared.project.state).verify, threading.Event()
    return SecondLook(prepared.project, connection, together, wire, applied, lineage_of(prepared), folder, stop, report)


def _rows_of_key(connection: Mysql, table: Table, key: Mapping[str, str]) -> list[Row]:
    if missing := [name for name in table.primary_key if name not in key]:
        raise UserError(f"a value for {missing[0]} is missing", place=table.full_name)
    where = " AND ".join(f"{quoted(name)} = %s" for name in table.primary_key)
    values = tuple(_typed(key[name]) for name in table.primary_key)
    return read_rows(connection, table, f"{where} LIMIT {MOST_ROWS}", values)


def _typed(text: str) -> str | bytes:
    if not text.startswith("0x"):
        return text
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise UserError(f"{text[:40]!r} is not bytes", hint="Write bytes as 0x and hexadecimal digits.") from None


def _item_key(mapping: TableMapping, rows: list[Row], key: Mapping[str, str]) -> Item | None:
    """Where there is no row, what one with this key would have: other columns may be needed to say."""
    if rows:
        return mapping.item_key(rows[0])
    typed = {name: _number_or_text(mapping.table, name, key[name]) for name in mapping.table.primary_key}
    needed = {name for each in mapping.design.keys for name in each.template.needed}
    return mapping.item_key(tuple(typed.get(name) for name in mapping.table.names)) if needed <= set(typed) else None


def _number_or_text(table: Table, name: str, text: str) -> Any:
    return int(text) if table.column(name).kind in ("int", "year") and text.lstrip("-").isdigit() else text


def _of_log(key: Mapping[str, str]) -> dict[str, str]:
    return {name: _in_base64(value) if value.startswith("0x") else value for name, value in key.items()}


def _in_base64(text: str) -> str:
    value = _typed(text)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
