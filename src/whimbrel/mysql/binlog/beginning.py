"""How a file of the binlog begins, which tells it from another of the same name: a log that was reset starts over with
the names, and in time has every place again that was read before.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.binlog import events as ev
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids
from whimbrel.mysql.binlog.protocol import Packets, ServerRefusal, dump_from_file, register_replica
from whimbrel.mysql.binlog.session import any_server_id, files, introduce
from whimbrel.mysql.connect import connect, server_info
from whimbrel.project import Source
from whimbrel.records import Position

_ANSWERS_WITHIN = 30.0  # seconds
_START_ENCRYPTION = 164


class Beginning(NamedTuple):
    """``when`` the file was begun, in seconds since the epoch by the server's clock; the ``gtids`` of all before it."""

    when: int
    gtids: str

    def follows(self, gtids: str) -> bool:
        """Whether ``gtids`` are what was executed before the file."""
        return set(self.gtids.split(",")) == set(gtids.replace(" ", "").split(","))


def beginning_of(source: Source, file: str) -> Beginning | None:
    """None if the server has no such file. Raises SourceUnreachable, PrivilegeError."""
    with closing(connect(source)) as connection:
        if file not in files(connection):
            return None
        mariadb = server_info(connection).flavor == "mariadb"
        server_id = any_server_id()
        introduce(connection, Position(file, 4), server_id, use_gtid=False, heartbeat=1.0, mariadb=mariadb)
        place = f"{file} of {source.host}:{source.port}"
        packets = Packets(connection, place, _ANSWERS_WITHIN)
        try:
            register_replica(packets, server_id)
            dump_from_file(packets, server_id, file, 4, mariadb)
            return _read(packets, place, mariadb=mariadb)
        except ServerRefusal as refusal:
            raise SourceUnreachable(str(refusal), place=place, hint="Run the same command again.") from refusal
        finally:
            packets.close()


def oldest_file(source: Source) -> str:
    """The name of the first file that the server still has, "" without any."""
    with closing(connect(source)) as connection:
        return next(iter(files(connection)), "")


def gtids_before(event: bytes, *, mariadb: bool) -> str:
    """What a PREVIOUS_GTIDS event says, or MariaDB's GTID_LIST."""
    return str((MariaDBGtids if mariadb else MySQLGtids).decode(event[ev.HEADER_SIZE :]))


def _read(packets: Packets, place: str, *, mariadb: bool) -> Beginning:
    when = None
    for packet in packets:
        if packet is None:
            continue
        timestamp, kind, *_ = ev.HEADER.unpack_from(packet)
        if kind == ev.FORMAT_DESCRIPTION:
            when = timestamp
        elif when is not None and kind in (ev.PREVIOUS_GTIDS, ev.MARIADB_GTID_LIST):
            return Beginning(when, gtids_before(packet, mariadb=mariadb))
        elif when is not None and kind != _START_ENCRYPTION:
            return Beginning(when, "")
    raise SourceUnreachable("the server ended the connection", place=place)
