"""A look ahead in the binlog: is a table altered again before some later Position, and were rows written meanwhile?

The server describes a table only as it is now. After an ALTER at one Position that description may already be that of
a later one, so it is believed only when the binlog between the two has been looked at.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog import events as ev
from whimbrel.mysql.binlog.statements import Meaning, Statement
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect
from whimbrel.project import Source
from whimbrel.records import Position, Table

HEARTBEAT = 0.2  # seconds


class Ahead(NamedTuple):
    """``next``: the next statement that changes the table's columns, or ends it; "" if there is none.

    ``maps``: the table maps, as events, of the rows that were written to the table before it.
    """

    next: str
    maps: frozenset[bytes]


def look_ahead(source: Source, table: Table, start: Position, end: Position) -> Ahead:
    """From ``start``, which is after a statement, to ``end`` at most. Raises SourceUnreachable, PositionLost."""
    scout = _Scout(source, table, start)
    try:
        for output in scout:
            if not isinstance(output, list) and output.position.at_or_after(end):
                break
    except _Found as found:
        return Ahead(str(found), frozenset(scout.maps.values()))
    except UndecodableEvent:
        pass  # nothing behind it will be captured, and the capture will say so when it is there
    finally:
        scout.close()
    return Ahead("", frozenset(scout.maps.values()))


class _Found(Exception):
    """The statement that was looked for."""


class _Scout(BinlogStream):
    """Decodes no rows: it only sees that there are some."""

    def __init__(self, source: Source, table: Table, start: Position) -> None:
        tables = {(table.schema, table.name): table}
        super().__init__(connect(source), start, tables, server_id=0, use_gtid=False, heartbeat=HEARTBEAT)
        self.maps: dict[bytes, bytes] = {}

    def _on_table_map(self, event: bytes, kind: int, timestamp: int) -> None:
        self._decoders[event[19:25]] = None
        if ev.table_name(event) in self._tables:
            self.maps[event[27:]] = event

    def _on_alter(self, statement: Statement, sql: str) -> None:
        if statement.meaning is Meaning.ALTERED:
            raise _Found(sql)

    def _on_gone(self, statement: Statement, sql: str) -> NoReturn:
        raise _Found(sql)
