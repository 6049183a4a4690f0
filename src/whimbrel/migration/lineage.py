"""Which server the Positions of each epoch belong to: ``servers.jsonl`` in the state folder; and that its binlog is
still the one that was read.

The first server is the Checkpoint's; the file has a line for each one that took over since, with the Position up to
which the one before it was captured. A line is durable before anything of its server is captured. Only the capture
writes it; others read it whenever they ask a server for a Position.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.durable import replace_file, sealed_json, sealed_lines, writing
from whimbrel.errors import BEGIN_AGAIN, PositionLost, StateError, UnsupportedSource
from whimbrel.migration.beginnings import Beginnings
from whimbrel.mysql.binlog.beginning import Beginning, beginning_of, oldest_file
from whimbrel.mysql.binlog.session import still_has
from whimbrel.mysql.connect import Mysql, ServerInfo, current_position, server_info
from whimbrel.mysql.failover import first_position, prove_holds
from whimbrel.mysql.preflight import unlogged
from whimbrel.project import Source
from whimbrel.records import Position, Table

_BEGIN_AGAIN = f"{BEGIN_AGAIN.capitalize()}."
_RESTORE = f"Restore it from a copy of the state folder, or {BEGIN_AGAIN}."


class Era(NamedTuple):
    """A server's identity (``ServerInfo.server_uuid``), and the epoch of its Positions."""

    epoch: int
    server: str


class Lineage:
    """``first`` is the identity of the server that the migration began with; ``beginnings`` are of its binlog files."""

    def __init__(self, source: Source, path: Path, beginnings: Beginnings, first: str) -> None:
        self._source = source
        self._path = path
        self._beginnings = beginnings
        self._first = first

    def latest(self) -> Era:
        """The server that is followed now. Raises StateError if the file is damaged."""
        lines = self._lines()
        if not lines:
            return Era(0, self._first)
        try:
            fields = orjson.loads(lines[-1])
            era = Era(int(fields["epoch"]), str(fields["server"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"cannot be read: {error!r}", place=str(self._path), hint=_RESTORE) from error
        if era.epoch != len(lines):
            raise StateError(
                f"line {len(lines)} is of epoch {era.epoch}: lines are missing", place=str(self._path), hint=_RESTORE
            )
        return era

    def end_of(self, connection: Mysql) -> Position:
        """Where the binlog of this server ends now: in the epoch that it has, or will have once it is followed."""
        return current_position(connection)._replace(epoch=self.epoch_of(server_info(connection).server_uuid))

    def epoch_of(self, server: str) -> int:
        latest = self.latest()
        return latest.epoch if server == latest.server else latest.epoch + 1

    def prove(self, connection: Mysql, position: Position) -> str:
        """That this server's rows and binlog continue from ``position``; its identity. Raises as ``prove_holds``."""
        info, latest = server_info(connection), self.latest()
        if info.server_uuid != latest.server:
            prove_holds(connection, info, position, latest.server)
        elif position.epoch == latest.epoch:
            self._same_file(position)
        return info.server_uuid

    def begin(self, start: Position) -> None:
        """Note the file of a server's first Position. Must come before a Checkpoint has it."""
        if found := beginning_of(self._source, start.file):
            self._beginnings.note(start, found)

    def enter(self, position: Position, beginning: Beginning) -> None:
        """The capture reads the file of ``position`` from now on. Must come before anything of it is captured."""
        self._beginnings.note(position, beginning)

    def prove_logged(self, connection: Mysql, info: ServerInfo, tables: Iterable[Table]) -> None:
        """That the server which is followed logs all changes of ``tables``. What it did not log is in no log when the
        setting is right again, so once seen it is remembered in ``unlogged.json``. Raises UnsupportedSource.
        """
        path = self._path.with_name("unlogged.json")
        if path.exists():
            raise UnsupportedSource(
                f"changes were not logged while this migration ran, and are in no log: {path.read_text().strip()}",
                place=str(path),
                hint=f"{_BEGIN_AGAIN} If that server was never the source of this migration, remove the file instead.",
            )
        if info.server_uuid != self.latest().server:
            return
        for fault in unlogged(connection, tables):
            when, server = datetime.now(UTC).isoformat(timespec="seconds"), f"{connection.host}:{connection.port}"
            seen = {"seen": when, "server": server, "what": str(fault.error)}
            with writing(path):
                replace_file(path, orjson.dumps(seen) + b"\n")
            raise fault.error

    def take_up(self, connection: Mysql, info: ServerInfo, captured: Position) -> Position:
        """Where to read this server's binlog from, ``captured`` being the end of what is captured.

        The order matters: that a server took over is durable before anything of it is captured. Raises what
        ``prove_holds`` does, and UnsupportedSource if GTIDs were turned off since a failover.
        """
        latest = self.latest()
        if captured.epoch > latest.epoch:
            message = f"is missing, or older than the change log, which has Positions of epoch {captured.epoch}"
            raise StateError(message, place=str(self._path), hint=_RESTORE)
        if info.server_uuid != latest.server:
            prove_holds(connection, info, captured, latest.server)
            latest = Era(latest.epoch + 1, info.server_uuid)
            self._add(latest, captured)
        if latest.epoch and not info.gtid:
            raise UnsupportedSource(
                "is no longer ON, and after a failover only GTIDs say where to continue",
                place="gtid_mode",
                hint="Set it to ON again.",
            )
        if captured.epoch == latest.epoch:
            if found := self._followed_file(captured, gtid=info.gtid):
                self._beginnings.note(captured, found)
            return captured
        first = first_position(connection, captured.gtid, latest.epoch)
        self.begin(first)
        return first

    def prove_goes_on(self, connection: Mysql, info: ServerInfo, captured: Position) -> None:
        """That a capture could continue from ``captured`` now. Nothing is written. Raises as ``prove_holds``, and
        PositionLost.
        """
        latest = self.latest()
        if info.server_uuid != latest.server:
            prove_holds(connection, info, captured, latest.server)
        elif captured.epoch == latest.epoch:
            self._followed_file(captured, gtid=info.gtid)
        still_has(connection, captured, use_gtid=info.gtid and bool(captured.gtid))

    def _followed_file(self, captured: Position, *, gtid: bool) -> Beginning | None:
        """How the file of ``captured`` begins; None where it is gone, and the next one follows it, or only the server
        can say so, as it does without GTIDs. Raises PositionLost.
        """
        found = self._same_file(captured)
        if found is None and gtid and captured.gtid:
            self._was_purged(captured)
        return found

    def _same_file(self, position: Position) -> Beginning | None:
        """How the file of ``position`` begins on the server, None if it has none of that name. Raises PositionLost if
        it is another one than that which was captured.
        """
        found, known = beginning_of(self._source, position.file), self._beginnings.of(position)
        if found and known and found != known:
            raise _was_reset(
                f"{position.file} was begun at {_clock(found.when)} after the GTIDs {found.gtids or 'none'}; the one "
                f"that was captured, at {_clock(known.when)} after {known.gtids or 'none'}"
            )
        return found

    def _was_purged(self, captured: Position) -> None:
        """The file of ``captured`` is gone. If it was purged, it ended there, and the oldest one continues from it."""
        file = oldest_file(self._source)
        found = beginning_of(self._source, file) if file else None
        if found is None or not found.follows(captured.gtid):
            raise _was_reset(
                f"the server has no {captured.file}, and {file or 'nothing'} does not continue from {captured}"
            )

    def _lines(self) -> list[bytes]:
        return sealed_lines(self._path, _RESTORE)

    def _add(self, era: Era, after: Position) -> None:
        line = sealed_json({**era._asdict(), "after": after.as_fields()})
        try:
            replace_file(self._path, b"".join(each + b"\n" for each in self._lines()) + line)
        except OSError as error:
            hint = "Free disk space, or repair the disk, and start again."
            raise StateError(f"cannot be written: {error.strerror}", place=str(self._path), hint=hint) from error


def _was_reset(why: str) -> PositionLost:
    return PositionLost(f"it was reset: {why}", place="binlog of the source", hint=_BEGIN_AGAIN)


def _clock(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
