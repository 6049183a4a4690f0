"""Which server the Positions of each epoch belong to: ``servers.jsonl`` in the state folder.

The first server is the Checkpoint's; the file has a line for each one that took over since, with the Position up to
which the one before it was captured. A line is durable before anything of its server is captured. Only the capture
writes it; others read it whenever they ask a server for a Position.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.durable import is_sound, replace_file, sealed
from whimbrel.errors import StateError, UnsupportedSource
from whimbrel.mysql.connect import Mysql, ServerInfo, current_position, server_info
from whimbrel.mysql.failover import first_position, prove_holds
from whimbrel.records import Position

_RESTORE = "Restore it from a copy of the state folder, or set the folder aside and begin the migration again."


class Era(NamedTuple):
    """A server's identity (``ServerInfo.server_uuid``), and the epoch of its Positions."""

    epoch: int
    server: str


class Lineage:
    """``first`` is the identity of the server that the migration began with."""

    def __init__(self, path: Path, first: str) -> None:
        self._path = path
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
        """That this server's rows and binlog go on from ``position``; its identity. Raises as ``prove_holds``."""
        info, latest = server_info(connection), self.latest()
        if info.server_uuid != latest.server:
            prove_holds(connection, info, position, latest.server)
        return info.server_uuid

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
                "is not ON any more, and after a failover only GTIDs say where to go on",
                place="gtid_mode",
                hint="Set it to ON again.",
            )
        if captured.epoch == latest.epoch:
            return captured
        return first_position(connection, captured.gtid, latest.epoch)

    def _lines(self) -> list[bytes]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"cannot be read: {error.strerror}", place=str(self._path), hint=_RESTORE) from error
        lines = data.splitlines()
        if not all(map(is_sound, lines)):
            raise StateError("a line does not match its checksum", place=str(self._path), hint=_RESTORE)
        return lines

    def _add(self, era: Era, after: Position) -> None:
        line = sealed(orjson.dumps({**era._asdict(), "after": after.as_fields()})[:-1])
        try:
            replace_file(self._path, b"".join(each + b"\n" for each in self._lines()) + line)
        except OSError as error:
            hint = "Make room on the disk, or repair it, and start again."
            raise StateError(f"cannot be written: {error.strerror}", place=str(self._path), hint=hint) from error
