"""Before the dump: what the server is told about us, and whether it can serve the position at all.

The server's own refusal (1236) names seldom what it has; so that is asked first, and a position that it cannot serve is
refused here. Sources: mysql-server sql/rpl_replica.cc (get_source_version_and_clock), MariaDB sql/slave.cc.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from whimbrel.errors import BEGIN_AGAIN, PositionLost, SourceError, UndecodableEvent, UnsupportedSource
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids
from whimbrel.mysql.binlog.protocol import Packets, dump_from_file, dump_from_gtids, register_replica
from whimbrel.mysql.charsets import collation_charsets
from whimbrel.mysql.connect import rows_as_dicts, server_info
from whimbrel.records import Position

LATE = 3.0  # seconds that a transaction may need to count as executed
_START_OVER = f"{BEGIN_AGAIN.capitalize()}, and let the source keep its binlog for longer."


class ReplicaSession(NamedTuple):
    """``charsets`` has the character set of each collation id; ``has`` says in words which history the server holds.

    ``version`` is one number: 80403 is 8.4.3. ``unchecked``: the server writes its binlog without checksums.
    """

    mariadb: bool
    version: int
    server_id: int
    place: str
    has: str
    charsets: Mapping[int, str]
    unchecked: bool

    def request(self, packets: Packets, start: Position, *, gtid: bool) -> None:
        """Ask for everything from ``start`` on: by its GTID set, or by file and offset."""
        register_replica(packets, self.server_id)
        if gtid and not self.mariadb:
            dump_from_gtids(packets, self.server_id, MySQLGtids(start.gtid).encode())
        else:
            file, offset = ("", 4) if gtid else (start.file, start.offset)
            dump_from_file(packets, self.server_id, file, offset, self.mariadb, every_event=self.unchecked)

    def refused(self, message: str, asked: Position) -> SourceError:
        """The server's error 1236 as ours."""
        said = message.lower()
        if "same server_uuid" in said or "same server_id" in said or "server_uuid/server_id" in said:
            return UnsupportedSource(
                f"another replica has the same server_id: {message}",
                place=self.place,
                hint="Give `server_id` a number that no other replica has, and run one whimbrel at a time.",
            )
        if any(words in said for words in ("crc", "corrupt", "checksum")):
            return UndecodableEvent(f"asked for {asked}: {message}", place=self.place)
        return PositionLost(
            f"asked for {asked}, the server has {self.has}: {message}", place=self.place, hint=_START_OVER
        )


def open_session(
    connection: Any, start: Position, server_id: int, *, use_gtid: bool, heartbeat: float
) -> ReplicaSession:
    """Raises PositionLost if the binlog does not reach back to ``start``, or never was there."""
    info = server_info(connection)
    mariadb = info.flavor == "mariadb"
    server_id = server_id or any_server_id()
    logs = files(connection)
    has = _history(connection, logs, mariadb=mariadb)
    _prove(connection, start, logs, use_gtid=use_gtid, mariadb=mariadb)
    introduce(connection, start, server_id, use_gtid=use_gtid, heartbeat=heartbeat, mariadb=mariadb)
    version = one_number(info.version)
    unchecked = global_variable(connection, "binlog_checksum") == "NONE"
    return ReplicaSession(
        mariadb, version, server_id, _place(connection), has, collation_charsets(connection), unchecked
    )


def one_number(version: tuple[int, int, int]) -> int:
    major, minor, patch = version
    return major * 10_000 + minor * 100 + patch


def any_server_id() -> int:
    return random.randrange(1 << 30, (1 << 32) - 1)


def still_has(connection: Any, position: Position, *, use_gtid: bool) -> None:
    """Raises PositionLost if the server's binlog does not have ``position`` (any more)."""
    mariadb = server_info(connection).flavor == "mariadb"
    _prove(connection, position, files(connection), use_gtid=use_gtid, mariadb=mariadb)


def _prove(connection: Any, position: Position, logs: Mapping[str, int], *, use_gtid: bool, mariadb: bool) -> None:
    if why := _lost(connection, position, logs, use_gtid=use_gtid, mariadb=mariadb):
        has = _history(connection, logs, mariadb=mariadb)
        message = f"asked for {position}, the server has {has}: {why}"
        raise PositionLost(message, place=_place(connection), hint=_START_OVER)


def files(connection: Any) -> dict[str, int]:
    """The sizes of the binlog's files by their names, the oldest first."""
    return {row["Log_name"]: int(row["File_size"]) for row in rows_as_dicts(connection, "SHOW BINARY LOGS")}


def _place(connection: Any) -> str:
    return f"binlog of {connection.host}:{connection.port}"


def _history(connection: Any, logs: Mapping[str, int], *, mariadb: bool) -> str:
    names = list(logs)
    files = f"{names[0]} to {names[-1]}:{logs[names[-1]]}" if names else "no binlog files"
    if mariadb:
        gtids = global_variable(connection, "gtid_binlog_pos")
        return f"{files}, GTIDs up to {gtids or 'none'}"
    return (
        f"{files}, GTIDs {global_variable(connection, 'gtid_executed') or 'none'}, "
        f"purged {global_variable(connection, 'gtid_purged') or 'none'}"
    )


def global_variable(connection: Any, name: str) -> str:
    value = rows_as_dicts(connection, f"SELECT @@GLOBAL.{name} AS v")[0]["v"]
    return str(value or "").replace("\n", "")


def _lost(connection: Any, start: Position, logs: Mapping[str, int], *, use_gtid: bool, mariadb: bool) -> str:
    """Why the position cannot be served, or ""."""
    if not use_gtid and start.file not in logs:
        return f"it has no file {start.file}"
    if not use_gtid and start.offset > logs[start.file]:
        return f"{start.file} ends at {logs[start.file]}"
    if mariadb:
        ahead = MariaDBGtids(start.gtid).ahead_of(MariaDBGtids(global_variable(connection, "gtid_binlog_pos")))
        return "it never had these GTIDs" if ahead else ""
    asked = MySQLGtids(start.gtid)
    never = asked.without(MySQLGtids(global_variable(connection, "gtid_executed")))
    if never and not executed_soon(connection, str(never)):
        return f"it never had the GTIDs {never}"
    purged = MySQLGtids(global_variable(connection, "gtid_purged")).without(asked) if use_gtid else None
    return f"it has purged the GTIDs {purged}" if purged else ""


def executed_soon(connection: Any, gtids: str) -> bool:
    """A transaction reaches replicas a moment before it counts as executed."""
    rows = rows_as_dicts(connection, "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", (gtids, LATE))
    return bool(rows[0]["late"] == 0)


def introduce(
    connection: Any, start: Position, server_id: int, *, use_gtid: bool, heartbeat: float, mariadb: bool
) -> None:
    """Set what the dump reads of its session. One server id, one UUID: so a new connection ends a dead one of ours."""
    ours = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"whimbrel-{server_id}"))
    period = int(heartbeat * 1e9)
    variables: dict[str, str] = {"master_heartbeat_period": str(period)}
    variables["master_binlog_checksum"] = "@@GLOBAL.binlog_checksum"
    if mariadb:
        variables |= {
            "mariadb_slave_capability": "4",
            "slave_gtid_strict_mode": "1",  # a server that lacks our very last transaction says so
            "slave_gtid_ignore_duplicates": "0",
        }
        if use_gtid:
            variables["slave_connect_state"] = f"'{MariaDBGtids(start.gtid)}'"
    else:
        variables |= {"source_heartbeat_period": str(period), "source_binlog_checksum": "@@GLOBAL.binlog_checksum"}
        variables |= {"slave_uuid": f"'{ours}'", "replica_uuid": f"'{ours}'"}
    rows_as_dicts(connection, "SET " + ", ".join(f"@{name} = {value}" for name, value in variables.items()))
