"""A look ahead in the binlog: is a table altered again before some later Position, and were rows written meanwhile?

The server describes a table only as it is now. After an ALTER at one Position that description may already be that of
a later one, so it is believed only when the binlog between the two has been looked at.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from whimbrel.errors import SchemaDrift, UndecodableEvent
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect
from whimbrel.project import Source
from whimbrel.records import Position, Table

HEARTBEAT = 0.2  # seconds


class Ahead(NamedTuple):
    """``next``: what the next statement that changes the table's columns, or ends it, did to it; "" if there is none.

    ``maps``: the table maps, as events, of the rows that were written to the table before it.
    """

    next: str
    maps: frozenset[bytes]


def look_ahead(source: Source, table: Table, start: Position, end: Position) -> Ahead:
    """From ``start``, which is after a statement, to ``end`` at most. Raises SourceUnreachable, PositionLost."""
    maps: dict[bytes, bytes] = {}  # by all of the event but its header and the table's id
    with closing(connect(source)) as connection:
        scout = BinlogStream(
            connection,
            start,
            {(table.schema, table.name): table},
            server_id=0,
            use_gtid=False,
            heartbeat=HEARTBEAT,
            seen=lambda event: maps.update({event[27:]: event}),
        )
        try:
            for output in scout:
                if not isinstance(output, list) and output.position.at_or_after(end):
                    break
        except SchemaDrift as altered:
            return Ahead(altered.message, frozenset(maps.values()))
        except UndecodableEvent:
            pass  # nothing behind it will be captured, and the capture will say so when it is there
        finally:
            scout.close()
    return Ahead("", frozenset(maps.values()))
