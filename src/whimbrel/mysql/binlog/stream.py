"""The source's binlog as Changes and Commits, in the order of the source's history.

Rules of order: the Changes of a transaction come before its Commit, and nothing else is between them; a reader resumes
only at the Position of a Commit or an Idle. What cannot be carried exactly is an error, raised before anything that
comes after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog import events as ev
from whimbrel.mysql.binlog import refused
from whimbrel.mysql.binlog.alterations import Redefine, Reprove
from whimbrel.mysql.binlog.beginning import Beginning, gtids_before
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids
from whimbrel.mysql.binlog.lexer import Dialect
from whimbrel.mysql.binlog.protocol import Packets, ServerRefusal
from whimbrel.mysql.binlog.refused import START_OVER
from whimbrel.mysql.binlog.rows import COMPRESSED_ROWS, MALFORMED, ROWS, Rows
from whimbrel.mysql.binlog.session import one_number, open_session
from whimbrel.mysql.binlog.statements import Meaning, Statement, read_statement, statement_text
from whimbrel.mysql.binlog.xa import XA, Step
from whimbrel.mysql.connect import version_number
from whimbrel.records import Change, Commit, Idle, Position, Table

Output = list[Change] | Commit | Idle
Handler = Callable[[bytes, int, int], Output | None]

_new = tuple.__new__  # a NamedTuple without the cost of its constructor


class BinlogStream:
    """Iterate once. ``connection`` is used up: it only speaks replication from now on.

    ``start`` is the Position of a Commit or an Idle, or where the source's binlog ended at some time; all Positions are
    of its epoch. With ``use_gtid`` its GTID set says where to begin, else its file and offset. ``heartbeat`` is in
    seconds: an Idle comes so often while there is nothing new. ``server_id`` is ours as a replica, and no other may
    have it; 0 picks one. ``tables`` are as they were at ``start``; ``redefine`` says what one of them is after an ALTER
    that may have changed its columns: rows before it are read by the old one, those after it by the new one. Without it
    such an ALTER is SchemaDrift. ``reprove`` is told of every alteration of one of them, before anything after it is
    handed out. ``hidden`` asks how many columns the server hides behind a table's own (``schema.hidden_columns``). With
    ``seen`` no rows are decoded: it is given the table maps of captured tables, as events. ``gone`` is told of a
    statement by which rows or a table go without row events: an error, where nobody else asks for it.

    Raises PositionLost, PartialImage, StatementChange, UndecodableEvent, SchemaDrift, SourceUnreachable,
    PrivilegeError.
    """

    def __init__(
        self,
        connection: Any,
        start: Position,
        tables: Mapping[tuple[str, str], Table],
        *,
        server_id: int,
        use_gtid: bool,
        heartbeat: float = 1.0,
        redefine: Redefine | None = None,
        reprove: Reprove | None = None,
        hidden: Callable[[Table], int] = lambda table: 0,
        seen: Callable[[bytes], None] | None = None,
        gone: refused.Gone = refused.refuse_gone,
    ) -> None:
        self._redefine, self._reprove, self._gone = redefine, reprove, gone
        self._session = open_session(connection, start, server_id, use_gtid=use_gtid, heartbeat=heartbeat)
        self._mariadb = self._session.mariadb
        self._rows = Rows(self._session, tables, hidden, seen)
        self._packets = Packets(connection, f"{connection.host}:{connection.port}", max(30.0, 10 * heartbeat))
        self._start, self._use_gtid = start, use_gtid
        self._file, self._offset, self._over_4_gib = start.file, start.offset, start.offset & ~0xFFFFFFFF
        self.beginning: Beginning | None = None  # of the file that is read, if it was read from there
        self._begun = 0  # when it was
        self._version = self._session.version  # of who wrote the file: it decides which version comments were executed
        self._entering = False  # another file, whose beginning is still to come
        self._gtids: MySQLGtids | MariaDBGtids = (MariaDBGtids if self._mariadb else MySQLGtids)(start.gtid)
        self._gtids_known = bool(start.gtid) or use_gtid
        self._gtid, self._epoch = str(self._gtids), start.epoch
        self._checksum = 0
        self._unchecked = self._session.unchecked
        self._behind = self._offset  # where the last event ended, also within a transaction
        self._settled = False  # a whole transaction has come: from here on nothing is skipped
        self._inside = False  # a transaction
        self._without_effect = False  # the next statement only begins an ALTER in two phases, or ends one that failed
        self._prepared = XA()
        self._touched = False  # the transaction has Changes that were handed out
        self._next_gtid: tuple[Any, ...] | None = None
        self._commit_time = 0.0
        # By GTID, MySQL looks for the start from the beginning of a file, and sends heartbeats on the way: until the
        # first transaction only one that comes twice from the same place is a sign of rest.
        self._skipping = use_gtid and not self._mariadb
        self._last_beat: Position | None = None
        self._waiting: Commit | None = None  # of transactions without Changes, until there is nothing better to do

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._packets.close()

    def __iter__(self) -> Iterator[Output]:
        try:
            self._session.request(self._packets, self._start, gtid=self._use_gtid)
            yield from self._read()
        except ServerRefusal as refusal:
            raise self._session.refused(str(refusal), self._start) from refusal
        except MALFORMED as error:
            raise self._undecodable(
                f"an event that does not have its documented form: {error!r}", START_OVER
            ) from error

    def _read(self) -> Iterator[Output]:
        header, crc32, intact, handlers = ev.HEADER.unpack_from, zlib.crc32, ev.CRC32_OF_INTACT, self._handlers()
        unchecked = self._unchecked
        for packet in self._packets:
            if packet is None:
                if self._waiting and not self._entering:
                    yield self._waiting
                    self._waiting = None
                continue
            timestamp, kind, _, size, end, flags = header(packet)
            if size != len(packet):
                raise self._undecodable(f"an event of {size} bytes in a packet of {len(packet)}")
            if self._checksum and kind != 4 and kind != 15:  # rotate and format description look to themselves
                if crc32(packet) != intact:
                    raise self._undecodable("its checksum does not match")
                packet = packet[:-4]
            if end and not flags & 0x20:  # artificial
                offset = self._over_4_gib + end  # events carry the low 32 bits of where they end
                if offset < self._offset:
                    self._over_4_gib += 1 << 32
                    offset += 1 << 32
                if unchecked:
                    if kind not in ev.HEARTBEATS:
                        self._check_gap(offset - size)
                    self._behind = offset
                self._offset = offset
            elif unchecked and kind not in ev.HEARTBEATS and not flags & 0x20:
                self._behind += size  # MariaDB 11 does not say where the events within a transaction end
            handler = handlers.get(kind)
            if handler is None:
                if kind == ev.TRANSACTION_PAYLOAD:
                    yield from self._payload(packet, handlers)
                else:
                    self._unknown(kind, flags)
                continue
            output = handler(packet, kind, timestamp)
            if output is not None:
                if type(output) is Idle and self._waiting:
                    yield self._waiting
                self._waiting = None  # what it says, the Commit of this transaction says too
                yield output

    def _check_gap(self, begins: int) -> None:
        """Without checksums: where an event begins, the one before it must have ended. Before the first transaction the
        server may have skipped some; and where a file has checksums that it leaves out for us, four bytes are missing.
        """
        if self._settled and not self._checksum and begins - max(self._behind, self._offset) not in (0, 4):
            raise self._undecodable(f"an event that begins at {begins}: the one before it ended elsewhere", START_OVER)

    def _payload(self, event: bytes, handlers: Mapping[int, Handler]) -> Iterator[Output]:
        """The events of one transaction, all at the Position where the payload ends."""
        for inner in ev.payload_events(event):
            timestamp, kind, _, _, _, flags = ev.HEADER.unpack_from(inner)
            handler = handlers.get(kind)
            if handler is None:
                self._unknown(kind, flags)
                continue
            output = handler(inner, kind, timestamp)
            if output is not None:
                self._waiting = None
                yield output

    # Each handler takes an event without its checksum, its type and its time, and returns what there is to hand out.

    def _handlers(self) -> dict[int, Handler]:
        return {
            **dict.fromkeys(ev.SILENT + (ev.SILENT_IN_MARIADB if self._mariadb else ()), _silent),
            **dict.fromkeys(ROWS, self._on_rows),
            **dict.fromkeys(COMPRESSED_ROWS if self._mariadb else (), self._on_compressed_rows),
            ev.TABLE_MAP: self._rows.on_table_map,
            ev.PARTIAL_UPDATE: self._on_partial_update,
            ev.QUERY: self._on_query,
            ev.MARIADB_QUERY_COMPRESSED: self._on_compressed_query,
            ev.EXECUTE_LOAD: self._on_load,
            ev.INCIDENT: self._on_incident,
            ev.XID: self._on_xid,
            ev.XA_PREPARE: self._on_xa_prepare,
            **dict.fromkeys((ev.GTID, ev.ANONYMOUS_GTID), self._on_gtid),
            ev.GTID_TAGGED: self._on_tagged_gtid,
            ev.MARIADB_GTID: self._on_mariadb_gtid,
            **dict.fromkeys((ev.PREVIOUS_GTIDS, ev.MARIADB_GTID_LIST), self._on_previous_gtids),
            ev.ROTATE: self._on_rotate,
            ev.FORMAT_DESCRIPTION: self._on_format,
            **dict.fromkeys(ev.HEARTBEATS, self._on_heartbeat),
        }

    # Rows

    def _on_rows(self, event: bytes, kind: int, timestamp: int) -> list[Change] | None:
        decoder = self._rows.decoders.get(event[19:25]) or self._rows.decoder(event)
        if decoder is None:
            return None
        self._touched = True
        position = _new(Position, (self._file, self._offset, self._gtid, self._epoch))  # not by a call: for each event
        return self._rows.changes(event, kind, decoder, position)

    def _on_compressed_rows(self, event: bytes, kind: int, timestamp: int) -> list[Change] | None:
        if self._rows.decoder(event) is None:
            return None
        return self._on_rows(*self._rows.plain(event, kind), timestamp)

    def _on_partial_update(self, event: bytes, kind: int, timestamp: int) -> None:
        self._rows.partial_update(event, self._position())

    # Statements

    def _on_query(self, event: bytes, kind: int, timestamp: int) -> Commit | None:
        if ev.is_begin(event):
            self._inside = True
            return None
        return self._statement(ev.parse_query(event), timestamp)

    def _on_compressed_query(self, event: bytes, kind: int, timestamp: int) -> Commit | None:
        query = ev.parse_query(event)
        return self._statement(query._replace(statement=ev.uncompress(query.statement)), timestamp)

    def _statement(self, query: ev.Query, timestamp: int) -> Commit | None:
        if self._without_effect:
            return self._commit(timestamp)
        sql, charset = statement_text(query.statement, self._session.charsets.get(query.collation, "utf8mb4"))
        dialect = Dialect(self._mariadb, self._version, query.sql_mode, charset)
        statement = read_statement(sql, query.schema, self._rows.tables, dialect)
        match statement.meaning:
            case Meaning.COMMIT:
                return self._commit(timestamp)
            case Meaning.ROLLBACK:
                self._no_changes_undone("a rollback")
                return self._commit(timestamp)
            case Meaning.PARTIAL_ROLLBACK:
                self._no_changes_undone("a rollback to a savepoint")
            case Meaning.SAVEPOINT:
                pass
            case Meaning.BEGIN:
                self._inside = True
            case Meaning.XA:
                return self._xa(sql, timestamp)
            case Meaning.DATA | Meaning.UNKNOWN:
                raise refused.unlogged(statement, sql, str(self._position()))
            case Meaning.ALTERED | Meaning.KEYS:
                self._on_alter(statement, sql)
                return self._commit(timestamp)
            case Meaning.GONE:
                self._gone(statement, sql, str(self._position()))
                return self._commit(timestamp)
            case _ if not self._inside:
                return self._commit(timestamp)
        return None

    def _on_alter(self, statement: Statement, sql: str) -> None:
        assert statement.alteration is not None, "what alters a captured table says how"
        where = statement.table, self._position(), sql, statement.alteration
        if statement.meaning is Meaning.ALTERED:
            if self._redefine is None:
                raise refused.altered(sql, str(self._position()))
            self._rows.define(statement.table, self._redefine(*where))
        if self._reprove:  # of the table as it is now, and before anything that was written to it since
            self._reprove(*where)

    def _no_changes_undone(self, what: str) -> None:
        if self._touched:
            raise self._undecodable(f"{what} of changes that the binlog holds already", START_OVER)

    def _on_load(self, event: bytes, kind: int, timestamp: int) -> NoReturn:
        raise refused.loaded(str(self._position()))

    def _on_incident(self, event: bytes, kind: int, timestamp: int) -> NoReturn:
        message = event[22:].decode("utf-8", "replace")
        raise self._undecodable(f"an incident: events were lost on the server ({message})", START_OVER)

    # Transactions

    def _on_xid(self, event: bytes, kind: int, timestamp: int) -> Commit | None:
        return self._commit(timestamp)

    def _commit(self, timestamp: int) -> Commit | None:
        if self._next_gtid and self._gtids_known:
            self._gtids.add(*self._next_gtid)
            self._gtid = str(self._gtids)
        position = _new(Position, (self._file, self._offset, self._gtid, self._epoch))
        commit = _new(Commit, (position, self._commit_time or float(timestamp)))
        changed = self._touched
        self._inside = self._touched = self._skipping = False
        self._settled = True
        self._next_gtid = None
        if changed:
            return commit
        self._waiting = commit
        return None

    def _xa(self, sql: str, timestamp: int) -> Commit | None:
        match self._prepared.step(sql, changes=self._touched):
            case Step.BEGIN:
                self._inside = True
            case Step.COMMIT:
                return self._commit(timestamp)
            case Step.ROLLBACK:
                self._no_changes_undone("a rollback")
                return self._commit(timestamp)
        return None

    def _on_xa_prepare(self, event: bytes, kind: int, timestamp: int) -> Commit | None:
        self._prepared.prepare(event, changes=self._touched)
        return self._commit(timestamp)

    def _on_gtid(self, event: bytes, kind: int, timestamp: int) -> None:
        uuid, number, self._commit_time = ev.parse_gtid(event)
        self._next_gtid = (uuid, "", number) if kind == ev.GTID else None

    def _on_tagged_gtid(self, event: bytes, kind: int, timestamp: int) -> None:
        uuid, tag, number, self._commit_time = ev.parse_tagged_gtid(event)
        self._next_gtid = (uuid, tag, number) if number else None

    def _on_mariadb_gtid(self, event: bytes, kind: int, timestamp: int) -> None:
        self._next_gtid, standalone, self._without_effect = ev.parse_mariadb_gtid(event)
        self._inside = not standalone

    def _on_previous_gtids(self, event: bytes, kind: int, timestamp: int) -> None:
        """The set before the first event of this file: needed where the start did not say, and to know the file."""
        if self._entering:
            self.beginning = Beginning(self._begun, gtids_before(event, mariadb=self._mariadb))
            self._entering = False
        if not self._gtids_known and not self._inside:
            self._gtids = (MariaDBGtids if self._mariadb else MySQLGtids).decode(event[19:])
            self._gtids_known, self._gtid = True, str(self._gtids)

    # Files

    def _on_rotate(self, event: bytes, kind: int, timestamp: int) -> None:
        """Real at the end of a file, artificial before the first event of one.

        Before the format description nobody knows if there are checksums, so it decides whether one fits.
        """
        real = event[13:17] != b"\0\0\0\0" and not event[17] & ev.ARTIFICIAL
        if zlib.crc32(event) == ev.CRC32_OF_INTACT:
            event = event[:-4]
        elif real and self._checksum:
            raise self._undecodable("its checksum does not match")
        file, self._offset = ev.parse_rotate(event)
        if file != self._file:
            self._file, self.beginning, self._entering = file, None, True
        self._behind = self._offset
        self._over_4_gib = self._offset & ~0xFFFFFFFF
        if real:
            self._not_inside()
            self._waiting = Commit(self._position(), float(timestamp))

    def _on_format(self, event: bytes, kind: int, timestamp: int) -> None:
        self._not_inside()
        self._checksum = ev.checksum_length(event)
        if self._checksum and zlib.crc32(event) != ev.CRC32_OF_INTACT:
            raise self._undecodable("its checksum does not match")
        ev.check_format(event)
        self._begun = timestamp
        self._version = one_number(version_number(ev.writer_version(event)))
        self._rows.new_file()

    def _not_inside(self) -> None:
        """A server that crashed while it wrote a transaction left the beginning of it."""
        self._no_changes_undone("a transaction that ends with its file: a crash, and so a rollback,")
        self._inside = False
        self._next_gtid = None

    def _on_heartbeat(self, event: bytes, kind: int, timestamp: int) -> Idle | None:
        if kind == ev.HEARTBEAT_V2:
            _, offset = ev.parse_heartbeat_v2(event)
            self._offset = max(self._offset, offset)
            self._over_4_gib = self._offset & ~0xFFFFFFFF
        position = self._position()
        if self._inside or (self._skipping and position != self._last_beat):
            self._last_beat = position
            return None
        return Idle(position)

    # Words

    def _position(self) -> Position:
        return _new(Position, (self._file, self._offset, self._gtid, self._epoch))

    def _undecodable(self, message: str, hint: str = "") -> UndecodableEvent:
        return UndecodableEvent(message, place=f"{self._session.place} at {self._position()}", hint=hint)

    def _unknown(self, kind: int, flags: int) -> None:
        if not flags & ev.IGNORABLE:
            raise self._undecodable(f"an event of the unknown type {kind}", "A newer whimbrel may know it.")


def _silent(event: bytes, kind: int, timestamp: int) -> None:
    return None
