"""Row events as Changes: the table maps before them, the decoders made of these, and what no row may leave out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

from whimbrel.errors import PartialImage, UndecodableEvent
from whimbrel.mysql.binlog import events as ev
from whimbrel.mysql.binlog.decoders import Decode, Decoder, make_decoder
from whimbrel.mysql.binlog.refused import START_OVER
from whimbrel.mysql.binlog.session import ReplicaSession
from whimbrel.records import Change, Position, Table

Key = tuple[str, str]  # a table's schema and name
Seen = Callable[[bytes], None]
MALFORMED = (ValueError, LookupError, ArithmeticError, struct.error, zlib.error)

_INSERT, _UPDATE, _DELETE = 1, 2, 3  # where a Decoder has the function
ROWS = {
    ev.WRITE_V1: _INSERT,
    ev.UPDATE_V1: _UPDATE,
    ev.DELETE_V1: _DELETE,
    ev.WRITE_V2: _INSERT,
    ev.UPDATE_V2: _UPDATE,
    ev.DELETE_V2: _DELETE,
}
COMPRESSED_ROWS = {
    166: ev.WRITE_V1,
    167: ev.UPDATE_V1,
    168: ev.DELETE_V1,
    169: ev.WRITE_V2,
    170: ev.UPDATE_V2,
    171: ev.DELETE_V2,
}
_END_OF_STATEMENT = b"\xff\xff\xff\0\0\0"  # the table id of a rows event that only ends a statement


class Rows:
    """The captured tables as they are now. ``hidden`` asks how many columns the server hides behind a table's own.
    With ``seen`` nothing is decoded: it is given the table maps of captured tables, as events.

    Raises PartialImage and SchemaDrift, and UndecodableEvent, whose place the stream adds where it is missing.
    """

    def __init__(
        self, session: ReplicaSession, tables: Mapping[Key, Table], hidden: Callable[[Table], int], seen: Seen | None
    ) -> None:
        self.tables = dict(tables)
        self._session = session
        self._hidden = hidden
        self._seen = seen
        self.decoders: dict[bytes, Decoder | None] = {}  # by table id; None is a table that is not captured
        self._made: dict[bytes, Decoder | None] = {}  # by the table map itself

    def define(self, key: Key, table: Table) -> None:
        """Table maps before and after may have the same bytes, so nothing that was made of them may stay."""
        self.tables[key] = table
        self.decoders.clear()
        self._made.clear()

    def new_file(self) -> None:
        """Table ids start over."""
        self.decoders.clear()

    def on_table_map(self, event: bytes, kind: int, timestamp: int) -> None:
        """The same table has the same map but for its id, until it is altered or opened again."""
        body = event[27:]
        try:
            self.decoders[event[19:25]] = self._made[body]
        except KeyError:
            self.decoders[event[19:25]] = self._made[body] = self._make_decoder(event)

    def decoder(self, event: bytes) -> Decoder | None:
        """What reads the rows of ``event``; None if they are not of a captured table. See ``decoders`` first."""
        try:
            return self.decoders[event[19:25]]
        except KeyError:
            if event[19:25] == _END_OF_STATEMENT:
                return None
            raise UndecodableEvent("rows of a table that the binlog has not named before") from None

    def changes(self, event: bytes, kind: int, decoder: Decoder, position: Position) -> list[Change]:
        at = 27 if kind < 30 else 27 + (event[27] | event[28] << 8)  # version 2 has extra data, after its length
        which = ROWS[kind]
        heads = decoder.update_heads if which == _UPDATE else decoder.heads
        start = at + len(heads[0])
        if not event.startswith(heads, at):
            lean = decoder.without_hidden
            if lean and event.startswith(lean.update_heads if which == _UPDATE else lean.heads, at):
                decoder = lean
            else:
                self._check_image(event, at, start, decoder, position)
        decode: Decode = decoder[which]  # type: ignore[assignment]
        try:
            return decode(event, start, len(event), decoder.table, position)
        except UndecodableEvent as error:
            error.place = error.place or f"{decoder.table.full_name} at {position}"
            raise
        except MALFORMED as error:
            message = f"rows of {decoder.table.full_name} that do not fit its columns: {error}"
            raise UndecodableEvent(message, hint=START_OVER) from error

    def plain(self, event: bytes, kind: int) -> tuple[bytes, int]:
        """A compressed event as the plain one and its type."""
        kind = COMPRESSED_ROWS[kind]
        at = 27 if kind < ev.WRITE_V2 else 27 + (event[27] | event[28] << 8)
        count, start = ev.length_encoded(event, at)
        start += (count + 7) // 8 * (2 if ROWS[kind] == _UPDATE else 1)
        return event[:start] + ev.uncompress(event[start:]), kind

    def partial_update(self, event: bytes, position: Position) -> None:
        if decoder := self.decoder(event):
            raise PartialImage(
                "a partial update of JSON",
                place=f"{decoder.table.full_name} at {position}",
                hint=f"Set binlog_row_value_options='' for all sessions. {START_OVER}",
            )

    def _make_decoder(self, event: bytes) -> Decoder | None:
        table = self.tables.get(ev.table_name(event))
        if table is None:
            return None
        if self._seen:
            self._seen(event)
            return None
        return make_decoder(
            ev.parse_table_map(event),
            table,
            self._session.charsets,
            mariadb=self._session.mariadb,
            hidden=lambda: self._hidden(table),
        )

    def _check_image(self, event: bytes, at: int, rows_at: int, decoder: Decoder, position: Position) -> None:
        """All bits of all bitmaps must be set, but for those beyond the last column, which are of no meaning."""
        count, at = ev.length_encoded(event, at)
        known, _ = ev.length_encoded(decoder.heads[0], 0)
        if count != known:
            raise UndecodableEvent(f"rows of {count} columns after a table map of {known}")
        size, all_bits = (count + 7) // 8, (1 << count) - 1
        for bitmap in range(at, rows_at, size):
            there = int.from_bytes(event[bitmap : bitmap + size], "little")
            if there & all_bits != all_bits:
                lacks = [each.name for i, each in enumerate(decoder.table.columns) if not there >> i & 1]
                raise PartialImage(
                    f"a row event without all columns: it lacks {', '.join(lacks)}",
                    place=f"{decoder.table.full_name} at {position}",
                    hint="Set binlog_row_image=FULL for all sessions (MariaDB 11.8 leaves generated columns out even "
                    f"so: remove these). {START_OVER}",
                )
