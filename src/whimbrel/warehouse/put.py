"""Folded changes are written to a table of the warehouse, as the silo keeps its rows: as they are, with those that are
gone marked, or with all their versions.

The rows of the load are of any time since the start, so a row may have come there by a change that is still to be
written. Where versions are kept, the first change of a row says what it was at the start: the open version has that
before it is closed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from whimbrel.errors import WarehouseError
from whimbrel.records import Row
from whimbrel.warehouse.engine import EngineSession
from whimbrel.warehouse.fold import Folded, FoldedVersions
from whimbrel.warehouse.stored import SINCE, StoredTable

_HINT = "Somebody else wrote to it? Drop the silo's schema, remove its state folder, and begin again."


def insert(session: EngineSession, table: StoredTable, rows: list[Row]) -> None:
    """Raises WarehouseError if the engine says that it took another number of rows."""
    took_all(table, len(rows), session.insert(table, rows) if rows else 0)


def took_all(table: StoredTable, given: int, took: int) -> None:
    if took != given:
        raise WarehouseError(
            f"{given:,} rows were given, and the engine took {took:,}",
            place=table.full_name,
            hint="Nothing of them was kept. Run the same command again, and please report this.",
        )


def put(session: EngineSession, table: StoredTable, folded: Folded | FoldedVersions, began: float) -> None:
    """``began`` is the source's clock at the start."""
    if isinstance(folded, FoldedVersions):
        _put_versions(session, table, folded, began)
        return
    made = table.row_maker(folded.table)
    rows = [made(row) for row in folded.rows]
    if table.keeps == "deleted":
        rows = [(*row, None) for row in rows]
        rows += [(*made(version.was), moment(version.time)) for version in folded.gone if version.was is not None]
    _delete(session, table, list(folded.last))
    insert(session, table.written, rows)


def added_by_load(table: StoredTable, began: float) -> Row:
    """The values of ``table.added`` for rows of the load: their versions begin at the start."""
    if table.keeps == "history":
        return moment(began), None
    return (None,) if table.keeps else ()


def _put_versions(session: EngineSession, table: StoredTable, folded: FoldedVersions, began: float) -> None:
    made, keys = table.row_maker(folded.table), list(folded.versions)
    since = _open_since(session, table, keys)
    _delete(session, table, keys, table.present)
    rows: list[Row] = []
    for key, versions in folded.versions.items():
        before = folded.before[key]
        opened = since.get(key, moment(began))
        starts = [max(opened, moment(version.time)) for version in versions]  # the source's clock may have gone back
        if before is not None:
            rows.append((*made(before), opened, starts[0]))
        for version, start, end in zip(versions, starts, [*starts[1:], None], strict=True):
            if version.row is not None:
                rows.append((*made(version.row), start, end))
    insert(session, table.written, rows)


def _open_since(session: EngineSession, table: StoredTable, keys: list[Row]) -> dict[Row, str]:
    """Since when the open version of each key is there, as ``moment`` says it."""
    narrow = replace(table.written, columns=(*table.key_columns, *(c for c in table.added if c.name == SINCE)))
    found: dict[Row, str] = {}
    for rows in session.read(narrow, keys, only=table.present):
        found.update((row[:-1], str(row[-1])) for row in rows)
    return found


def _delete(session: EngineSession, table: StoredTable, keys: list[Row], only: str = "") -> None:
    gone = session.delete(table, keys, only=only)
    if gone > len(keys):
        raise WarehouseError(f"{len(keys):,} keys had {gone:,} rows", place=table.full_name, hint=_HINT)


def moment(time: float) -> str:
    """As a TIMESTAMP of microseconds in UTC is."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
