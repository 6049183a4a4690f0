"""Another server instead of the one whose binlog was read: may it be followed from where that one was left?

It may if its GTID set holds everything that was captured. Files and offsets say nothing: they are each server's own.
A replica that filters has the GTIDs of transactions whose rows it left out, so one with filters is refused.
"""

from __future__ import annotations

import contextlib

from whimbrel.errors import BEGIN_AGAIN, PositionLost, PrivilegeError, StateError, UnsupportedSource
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids
from whimbrel.mysql.binlog.session import executed_soon, global_variable
from whimbrel.mysql.connect import Mysql, ServerInfo, replica_status, rows_as_dicts
from whimbrel.records import Position

_SYSTEM = frozenset({"mysql", "sys", "performance_schema", "information_schema"})


def prove_holds(connection: Mysql, info: ServerInfo, position: Position, was: str) -> None:
    """That the server has executed everything up to ``position``, which a server called ``was`` gave.

    Raises StateError if nothing can say so, PositionLost with what is missing, UnsupportedSource for a filtered
    replica.
    """
    place = f"{connection.host}:{connection.port}"
    same_flavor = (":" in was) == (info.flavor == "mariadb")
    if not (same_flavor and info.gtid and position.gtid):
        why = "it is of another kind" if not same_flavor else "without GTIDs, nothing says what it has of the old one"
        raise StateError(
            f"this source is {info.server_uuid}, the migration followed {was}; {why}",
            place=place,
            hint=f"Point the project at the first server again, or {BEGIN_AGAIN}.",
        )
    if missing := missing_gtids(connection, info, position.gtid):
        raise PositionLost(
            f"this source is {info.server_uuid}, the migration followed {was}, and captured transactions that this "
            f"server never got: {missing}",
            place=place,
            hint=f"If it is a replica that is behind, wait for it. Otherwise these changes are in the target and not "
            f"in this source: bring them here from {was}, or {BEGIN_AGAIN}.",
        )
    _refuse_filters(connection, place)


def missing_gtids(connection: Mysql, info: ServerInfo, gtids: str) -> str:
    """Those of ``gtids`` that the server does not have, "" if it has them all."""
    if info.flavor == "mysql":
        missing = MySQLGtids(gtids).without(MySQLGtids(global_variable(connection, "gtid_executed")))
        return "" if not missing or executed_soon(connection, str(missing)) else str(missing)
    # Not gtid_binlog_pos: it has the last transaction of a domain only, which may be another server's, and sequence
    # numbers of two servers that both wrote are the same ones.
    state = global_variable(connection, "gtid_binlog_state")
    has = {(domain, server): sequence for domain, server, sequence in _parsed(state)}
    missing_ones = [each for each in _parsed(gtids) if has.get(each[:2], -1) < each[2]]
    return ",".join("-".join(map(str, each)) for each in missing_ones)


def first_position(connection: Mysql, gtid: str, epoch: int) -> Position:
    """Before everything that the server's binlog has, in files; ``gtid`` says where to begin."""
    logs = rows_as_dicts(connection, "SHOW BINARY LOGS")
    if not logs:
        raise UnsupportedSource("the server has no binlog files", place="log_bin", hint="Start it with --log-bin")
    return Position(str(logs[0]["Log_name"]), 4, gtid, epoch)


def _parsed(text: str) -> list[tuple[int, int, int]]:
    """Of MariaDB's GTIDs, also several of one domain. Raises PositionLost for other text."""
    return [MariaDBGtids.parsed(gtid) for gtid in filter(None, (part.strip() for part in text.split(",")))]


def _refuse_filters(connection: Mysql, place: str) -> None:
    rows = rows_as_dicts(connection, "SHOW GLOBAL VARIABLES LIKE 'replicate%'")
    said = {row["Variable_name"]: row["Value"] for row in rows}
    with contextlib.suppress(PrivilegeError):
        for status in replica_status(connection):
            said |= {name: value for name, value in status.items() if name.startswith("Replicate_")}
    for name, value in said.items():
        filters = name.lower().startswith("replicate_") and ("_do_" in name.lower() or "_ignore_" in name.lower())
        if filters and "_ids" not in name.lower() and not _names_only_system_schemas(str(value or "")):
            raise UnsupportedSource(
                f"{name} is {value}: as a replica it may have left rows out, though it has their GTIDs",
                place=place,
                hint=f"Follow a replica without filters, or {BEGIN_AGAIN}.",
            )


def _names_only_system_schemas(filters: str) -> bool:
    names = (each.strip().partition(".")[0] for each in filters.split(",") if each.strip())
    return all(name in _SYSTEM for name in names)
