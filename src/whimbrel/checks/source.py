"""The source: its settings, how long it keeps its binlog, whom it replicates from, and what its tables have besides
rows.

Everything that stands in the way of an exact migration is said by the preflight; here it gets company.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from whimbrel.checks.findings import Finding, finding
from whimbrel.errors import PrivilegeError, UnsupportedSource, WhimbrelError
from whimbrel.mysql.connect import Mysql, ServerInfo, replica_status, rows_as_dicts, server_info
from whimbrel.mysql.grants import grants_of, may
from whimbrel.mysql.preflight import WANTED, named_faults, variables
from whimbrel.records import Table

BEHIND_SECONDS = 60
DAY = 86_400
TESTED = {"mariadb": ((10, 11), (11, 8)), "mysql": ((9, 7),)}  # the releases that the project's tests run on


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """``retention`` is in seconds, 0 if the binlog is never purged by age; ``retention_bytes`` likewise by size."""

    flavor: str
    version: str
    gtid: bool
    retention: int
    retention_bytes: int
    binlog_files: int
    binlog_bytes: int


def source_findings(connection: Mysql, tables: list[Table]) -> Iterator[Finding]:
    info, has = server_info(connection), variables(connection)
    for code, error in named_faults(connection, tables):
        yield from_error(code, error)
    yield from setting_findings(info, has)
    yield from _session_findings(connection, info)
    yield from replica_findings(connection, has)
    yield from _trigger_findings(connection, tables)
    yield from _time_zone_findings(connection, tables)


def from_error(code: str, error: WhimbrelError, place: str = "") -> Finding:
    return finding(code, error.place or place, error.message, error.hint)


def source_facts(connection: Mysql) -> SourceFacts:
    info, has = server_info(connection), variables(connection)
    files: list[dict[str, Any]] = []
    with suppress(WhimbrelError):
        files = rows_as_dicts(connection, "SHOW BINARY LOGS")
    return SourceFacts(
        flavor=info.flavor,
        version=".".join(map(str, info.version)),
        gtid=info.gtid,
        retention=_rds_retention(connection) or retention_seconds(has),
        retention_bytes=int(has.get("max_binlog_total_size") or has.get("binlog_space_limit") or 0),
        binlog_files=len(files),
        binlog_bytes=sum(int(file["File_size"]) for file in files),
    )


def setting_findings(info: ServerInfo, has: Mapping[str, str]) -> Iterator[Finding]:
    """What the server's release and variables tell that the preflight does not refuse."""
    if info.version[:2] not in TESTED[info.flavor]:
        yield finding("server-untested", "version()", f"is {info.flavor} {'.'.join(map(str, info.version))}")
    if info.flavor == "mysql" and not info.gtid:
        yield finding("gtid-off", "gtid_mode", f"is {has.get('gtid_mode', 'OFF')}")
    if has.get("binlog_row_metadata", "").upper() not in ("FULL", ""):
        yield finding("row-metadata", "binlog_row_metadata", f"is {has['binlog_row_metadata']}")
    if has.get("binlog_checksum", "").upper() == "NONE":
        yield finding("binlog-checksum", "binlog_checksum", "is NONE")
    for name in ("binlog_transaction_compression", "log_bin_compress"):
        if has.get(name, "OFF").upper() in ("ON", "1"):
            yield finding("binlog-compressed", name, "is ON")
    if has.get("wsrep_on", "OFF").upper() in ("ON", "1"):
        yield finding("galera", "wsrep_on", "is ON: this is a node of a cluster")


def retention_seconds(has: Mapping[str, str]) -> int:
    """How long the server keeps its binlog, by its variables; 0: until somebody purges it."""
    if has.get("binlog_expire_logs_auto_purge", "ON").upper() == "OFF":
        return 0
    seconds = float(has.get("binlog_expire_logs_seconds") or 0)
    return int(seconds or float(has.get("expire_logs_days") or 0) * DAY)


def _rds_retention(connection: Mysql) -> int:
    """Amazon RDS purges as soon as it can, whatever the variables say, unless its own table names a number of hours."""
    with suppress(WhimbrelError):
        rows = rows_as_dicts(
            connection, "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'"
        )
        if rows:
            return int(float(rows[0]["value"] or 0) * 3600) or 300
    return 0


def retention_findings(facts: SourceFacts, load_seconds: float, bytes_per_second: float) -> Iterator[Finding]:
    """The binlog must outlast every pause of the capture; the load is the time in which most of them happen."""
    least = max(DAY, 2 * load_seconds)
    if 0 < facts.retention < least:
        yield finding(
            "retention",
            "binlog_expire_logs_seconds",
            f"the binlog is kept for {facts.retention / 3600:,.1f} hours, and the load takes about "
            f"{load_seconds / 3600:,.1f}",
        )
    lasts = facts.retention_bytes / bytes_per_second if bytes_per_second else 0
    if facts.retention_bytes and 0 < lasts < least:
        yield finding(
            "retention",
            "max_binlog_total_size",
            f"{facts.retention_bytes:,} bytes of binlog are {lasts / 3600:,.1f} hours at the recent rate",
        )


def _session_findings(connection: Mysql, info: ServerInfo) -> Iterator[Finding]:
    """A change of a global variable reaches only new sessions."""
    if info.flavor != "mysql":
        return
    names = ", ".join(f"'{name}'" for name in WANTED if name != "log_bin")
    with suppress(WhimbrelError):  # performance_schema may be off
        rows = rows_as_dicts(
            connection,
            "SELECT LOWER(v.VARIABLE_NAME) AS name, v.VARIABLE_VALUE AS value, COUNT(*) AS sessions, "
            "MIN(t.PROCESSLIST_USER) AS user FROM performance_schema.variables_by_thread v "
            "JOIN performance_schema.threads t ON t.THREAD_ID = v.THREAD_ID "
            f"WHERE v.VARIABLE_NAME IN ({names}) GROUP BY 1, 2",
        )
        for row in rows:
            if row["value"] != WANTED[row["name"]]:
                reason = f"{row['sessions']} open sessions have {row['value']}, one of them of user {row['user']}"
                yield finding("session-settings", row["name"], reason)


def replica_findings(connection: Mysql, has: Mapping[str, str]) -> Iterator[Finding]:
    try:
        sources = replica_status(connection)
    except PrivilegeError as error:
        if has.get("gtid_slave_pos"):
            yield finding("replica-unknown", "source", error.message)
        return
    for each in sources:
        host = each.get("Source_Host", each.get("Master_Host"))
        yield finding("source-is-replica", "source", f"it replicates from {host}")
        threads = [each.get(f"{kind}_Running") for kind in ("Replica_IO", "Replica_SQL", "Slave_IO", "Slave_SQL")]
        behind = each.get("Seconds_Behind_Source", each.get("Seconds_Behind_Master"))
        if any(state not in (None, "Yes") for state in threads):
            yield finding("replica-behind", "source", f"its replication from {host} does not run")
        elif behind is not None and int(behind) >= BEHIND_SECONDS:
            yield finding("replica-behind", "source", f"it is {int(behind)} seconds behind {host}")


def _trigger_findings(connection: Mysql, tables: list[Table]) -> Iterator[Finding]:
    """To an account without TRIGGER a table's triggers are not there."""
    grants = grants_of(connection)
    hidden = [each for each in tables if not may(grants, "TRIGGER", schema=each.schema, table=each.name)]
    if hidden:
        schemas = ", ".join(f"`{schema}`.*" for schema in dict.fromkeys(each.schema for each in hidden))
        yield finding("triggers-unknown", "source", "the account has no TRIGGER", f"GRANT TRIGGER ON {schemas}")
    for table in tables:
        rows = rows_as_dicts(
            connection,
            "SELECT TRIGGER_NAME AS name, ACTION_TIMING AS timing, EVENT_MANIPULATION AS event "
            "FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s",
            (table.schema, table.name),
        )
        if rows:
            listed = ", ".join(f"{row['name']} ({row['timing'].lower()} {row['event'].lower()})" for row in rows)
            yield finding("triggers", table.full_name, listed)


def _time_zone_findings(connection: Mysql, tables: list[Table]) -> Iterator[Finding]:
    row = rows_as_dicts(connection, "SELECT @@global.time_zone AS zone, @@system_time_zone AS its_system")[0]
    zone = row["its_system"] if row["zone"] == "SYSTEM" else row["zone"]
    if zone in ("UTC", "GMT", "+00:00", "Etc/UTC"):
        return
    for table in tables:
        names = [column.name for column in table.columns if column.kind == "datetime"]
        if names:
            yield finding("time-zone", table.full_name, f"the server's time zone is {zone}: {', '.join(names)}")


def table_error(error: WhimbrelError, place: str) -> Finding:
    """What ``read_table`` refuses, by its code."""
    no_key = isinstance(error, UnsupportedSource) and "no primary key" in error.message
    return from_error("no-key" if no_key else "table-unsupported", error, place)
