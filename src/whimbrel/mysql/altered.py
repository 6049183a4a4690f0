"""What a captured table is after an ALTER: read from the server, and believed only where it cannot be another's.

A lock on the table's definition (any open transaction that has read the table holds one) keeps the description and the
binlog's end together: no ALTER can fall between the two. What the binlog has between the ALTER and that end is then
looked through for another one. Where there is one, the description is of that, and rows written between the two can
only be read if their own table maps name every column (binlog_row_metadata=FULL).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from whimbrel.errors import BEGIN_AGAIN, SchemaDrift, SourceUnreachable
from whimbrel.mysql.binlog.ahead import Ahead, look_ahead
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.decoders import make_decoder
from whimbrel.mysql.binlog.events import parse_table_map
from whimbrel.mysql.binlog.metadata import NAMES, column_names
from whimbrel.mysql.charsets import collation_charsets
from whimbrel.mysql.connect import Mysql, connect, current_position, quoted, rows_as_dicts, server_info, translated
from whimbrel.mysql.schema import read_table
from whimbrel.project import Source
from whimbrel.records import Column, Position, Table

LOCK_WAIT = 30  # seconds that a running ALTER may take to release it
_TWICE = (
    "Rows were written between two ALTERs and read only after the second, so nothing says what their columns were. "
    f"{BEGIN_AGAIN.capitalize()}. SET GLOBAL binlog_row_metadata = FULL first: such ALTERs are followed then."
)


class Altered(NamedTuple):
    """``replaced``: columns that have the name of an earlier one and other values, without row events saying so."""

    table: Table
    replaced: frozenset[str]


def altered(source: Source, server: str, known: Table, at: Position, sql: str, found: Alteration) -> Altered:
    """``known`` as it is after the statement ``sql``, which ends at ``at`` in the binlog of ``server`` (its identity)
    and does what ``found`` says.

    Raises SchemaDrift if that cannot be said for certain, SourceUnreachable.
    """
    with closing(connect(source)) as connection:
        if server_info(connection).server_uuid != server:
            raise SourceUnreachable("another server answers than the one whose binlog is read", place="source.url")
        present, end, generated = _described(connection, known)
        end = end._replace(epoch=at.epoch)
        ahead = Ahead("", frozenset()) if at.at_or_after(end) else look_ahead(source, known, at, end)
        table: Table | None
        if not ahead.next:
            table = present
        elif not ahead.maps:
            table = known  # no row was written with what the columns were meanwhile
        else:
            table = _named_by(ahead.maps, known, present, connection)
        if not table:
            raise SchemaDrift(
                f"was altered twice before its changes were read: {sql[:200]}; then: {ahead.next[:200]}",
                place=f"{known.full_name} at {at}",
                hint=_TWICE,
            )
    return Altered(table, _touched(found.replaced, table, known) | _touched(found.modified & generated, table, known))


def _touched(names: Collection[str], table: Table, known: Table) -> frozenset[str]:
    wanted = {name.lower() for name in names}
    return frozenset(name for name in table.names if name in known.names and name.lower() in wanted)


def _described(connection: Mysql, known: Table) -> tuple[Table, Position, set[str]]:
    """The table now, where the binlog ends now, and its generated columns: all at one moment of its definition."""
    name = f"{quoted(known.schema)}.{quoted(known.name)}"
    with translated(known.full_name), connection.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT 1 FROM {name} LIMIT 0")
        try:
            table = read_table(connection, known.schema, known.name)
            return table, current_position(connection), _generated(connection, known)
        finally:
            cursor.execute("COMMIT")


def _generated(connection: Mysql, table: Table) -> set[str]:
    rows = rows_as_dicts(
        connection,
        "SELECT COLUMN_NAME AS name, EXTRA AS extra FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (table.schema, table.name),
    )
    return {row["name"] for row in rows if "GENERATED" in row["extra"].upper()}


def _named_by(maps: Collection[bytes], known: Table, present: Table, connection: Mysql) -> Table | None:
    """The table that all of ``maps`` describe by name, from columns as they were before or are now; None if unsure."""
    mariadb = server_info(connection).flavor == "mariadb"
    charsets = collation_charsets(connection)
    tables = {table for event in maps if (table := _composed(event, known, present, charsets, mariadb=mariadb))}
    return tables.pop() if len(tables) == 1 and len(maps) == 1 else None


def _composed(
    event: bytes, known: Table, present: Table, charsets: Mapping[int, str], *, mariadb: bool
) -> Table | None:
    table_map = parse_table_map(event)
    if NAMES not in table_map.optional:
        return None
    columns: list[Column] = []
    for name in column_names(table_map):
        both = [table.column(name) for table in (known, present) if name in table.names]
        candidates = {_plain(column): column for column in both}
        if len(candidates) != 1:
            return None
        columns += candidates.values()
    table = replace(known, columns=tuple(columns))
    try:
        make_decoder(table_map, table, charsets, mariadb=mariadb)
    except SchemaDrift:
        return None
    return table


def _plain(column: Column) -> Column:
    """What decides about the bytes and the values."""
    return replace(column, nullable=True, collation="", type_name="")
