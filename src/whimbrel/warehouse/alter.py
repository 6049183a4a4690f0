"""Tables of the warehouse follow those of the source when these are altered, and columns that came are filled.

An ALTER changes rows without saying so in the binlog: a new column with a default, or one that had another name, has
values in rows that nobody writes. So where the source has any in such a column, it is read for all rows, once the
warehouse has everything up to the ALTER: what is read is then as new as what is there, and what is newer comes again
with the log. That the column is to be filled is in the ledger with the column itself.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from whimbrel.migration.history import History, Name
from whimbrel.mysql.connect import Mysql, connect, quoted, rows_as_dicts
from whimbrel.mysql.schema import read_table
from whimbrel.mysql.visible import until_visible
from whimbrel.mysql.whole_table import read_table as read_whole_table
from whimbrel.notes import note
from whimbrel.records import Position, Row, Table
from whimbrel.warehouse.chunk_rows import ChunkRows, in_small_chunks
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.ledger import KeptTable, Ledger
from whimbrel.warehouse.prepared import PreparedSilo
from whimbrel.warehouse.stored import StoredColumn, StoredTable, evolved


class FollowedTables:
    """A ``CapturedTables``: whatever is done to a table is captured, and whoever writes it decides by ``evolved``.
    Rows have the key of their own table, so no other proof is needed.
    """

    def follow(self, table: Table, replaced: Collection[str]) -> None: ...

    def doubts(self, table: Table, keys: Iterable[tuple[str, ...]]) -> Iterator[str]:
        return iter(())


def follow_versions(
    found: PreparedSilo,
    ledger: Ledger,
    history: History,
    kept: dict[Name, KeptTable],
    session: EngineSession,
    until: Position,
) -> None:
    """Alter the tables of ``kept`` as the source's were up to ``until``. Within a transaction. Raises SchemaDrift."""
    for name, before in list(kept.items()):
        now = before
        for number, (since, altered) in enumerate(history.versions(name)):
            if number <= now.version or not until.at_or_after(since):
                continue
            after = evolved(found.engine, found.silo, now.table, altered)
            _alter(session, now.table, after.added, after.widened)
            unfilled = {**now.unfilled, **{column.source.name: since for column in after.added}}
            now = KeptTable(after.table, number, unfilled)
        if now is not before:
            ledger.put_table(session, now)
            kept[name] = now


def _alter(
    session: EngineSession, table: StoredTable, added: tuple[StoredColumn, ...], widened: tuple[StoredColumn, ...]
) -> None:
    for column in added:
        session.execute(f"ALTER TABLE {table.quoted} ADD COLUMN {column.quoted} {column.sql}")
    for column in widened:
        session.widen(table, column)


def fill(
    found: PreparedSilo,
    engine: Engine,
    ledger: Ledger,
    kept: dict[Name, KeptTable],
    stop: threading.Event,
) -> None:
    """Fill the columns that are due: those of an ALTER before the Position of the ledger. Nothing may be written to the
    silo meanwhile. Returns early when ``stop`` is set: it is done again then. While a transaction is there in part
    nothing is filled: rows of it are newer than the Position, and the source may not show it yet.
    """
    if ledger.now.part:
        return
    position = ledger.now.position
    for name, each in list(kept.items()):
        due = [column for column, since in each.unfilled.items() if position and position.at_or_after(since)]
        if not due or position is None:
            continue
        _fill_table(found, engine, ledger, each, due, position, stop)
        if stop.is_set():
            return
        left = {column: since for column, since in each.unfilled.items() if column not in due}
        kept[name] = replace(each, unfilled=left)
        with engine.session() as session:
            with session.transaction():
                ledger.put_table(session, kept[name])
                fresh = ledger.advance(session)
            ledger.advanced(fresh)


def _fill_table(
    found: PreparedSilo,
    engine: Engine,
    ledger: Ledger,
    kept: KeptTable,
    due: list[str],
    position: Position,
    stop: threading.Event,
) -> None:
    """The order matters: the source shows all that is written already before it is read."""
    table = kept.table
    with closing(connect(found.silo.source)) as connection:
        until_visible(found.silo.source, found.tables, position, stop.wait)
        now = read_table(connection, *table.source)
        wanted = [
            column
            for column in table.columns
            if column.source.name in due
            and not column.gone
            and column.source in now.columns
            and _has_values(connection, now, column.source.name)
        ]
    if not wanted or now.primary_key != table.source_key:
        return  # or its key was altered since, at which the log will stop
    names = [column.source.name for column in wanted]
    note(f"{table.full_name}: filling {', '.join(names)} of rows that were there before the column")
    # The columns as they are now say how to read them.
    narrow = Table(
        now.schema, now.name, tuple(now.column(each) for each in (*now.primary_key, *names)), now.primary_key
    )

    def write(rows: list[Row]) -> None:
        with engine.session() as session:
            with session.transaction():
                session.fill(table, wanted, rows, only=table.present)
                fresh = ledger.advance(session)
            ledger.advanced(fresh)

    source = in_small_chunks(found.silo.source)
    read_whole_table(source, narrow, now.primary_key, lambda: ChunkRows(write), stop=stop, on_rows=lambda rows: None)


def _has_values(connection: Mysql, table: Table, column: str) -> bool:
    name = f"{quoted(table.schema)}.{quoted(table.name)}"
    return bool(rows_as_dicts(connection, f"SELECT 1 AS one FROM {name} WHERE {quoted(column)} IS NOT NULL LIMIT 1"))
