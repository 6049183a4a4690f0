"""What of the source stands in the way of a fence, or gets past it. Each fact has its code from
checks/findings.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from whimbrel.errors import PrivilegeError, SourceError
from whimbrel.mysql.barrier import Name, barrier, execute, prepared_transactions
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import Mysql, connect, quoted, replica_status, rows_as_dicts
from whimbrel.mysql.grants import grants_of, may
from whimbrel.mysql.preflight import variables
from whimbrel.mysql.triggers import (
    PREFIX,
    all_triggers,
    drop_triggers,
    fence_triggers,
    is_ours,
    make_triggers,
    may_write,
)
from whimbrel.project import Source


class Fact(NamedTuple):
    code: str
    place: str
    reason: str
    remedy: str = ""


class LockTrial(NamedTuple):
    """How long it took, in seconds: to get the lock and read the position; to close, and to close one table."""

    lock: float
    close: float
    table: float


def facts_of(connection: SourceConnection, tables: Sequence[Name], rights: Sequence[str]) -> Iterator[Fact]:
    """All but what only trying tells, and ``replica_facts``. ``rights`` on the tables are needed by the fence."""
    yield from _prepared(connection)
    yield from _privileges(connection, tables, rights)
    yield from _writers_past_triggers(connection)
    yield from _foreign_keys(connection, tables)
    yield from _triggers(connection, tables)
    yield from _events(connection, tables)
    yield from _long_transactions(connection)


def tried(source: Source, schema: str, exempt: str) -> LockTrial:
    """Make and remove a fence on a table of whimbrel's own, which is removed again. Raises FenceBroken, PrivilegeError
    and the errors of the source.
    """
    with _scratch_table(source, schema) as scratch:
        triggers = fence_triggers([scratch], 0, exempt)
        began = time.monotonic()
        with barrier(source, [scratch], _sleep, hold=10.0, patience=10.0) as held:
            held.position()
            locked = time.monotonic()
            make_triggers(held.execute, triggers, {})
            made = time.monotonic()
            drop_triggers(held.execute, [(schema, each.name) for each in triggers])
    return LockTrial(locked - began, 0.0, made - locked)


def tried_lock(source: Source, schema: str) -> float:
    """How long a lock takes on a table of whimbrel's own, in seconds, which is removed again. Raises PrivilegeError
    and the errors of the source.
    """
    with _scratch_table(source, schema) as scratch:
        began = time.monotonic()
        with barrier(source, [scratch], _sleep, hold=10.0, patience=10.0) as held:
            held.position()
        return time.monotonic() - began


@contextmanager
def _scratch_table(source: Source, schema: str) -> Iterator[Name]:
    """A table of whimbrel's own, for a moment."""
    scratch = schema, f"{PREFIX}trial_{secrets.token_hex(4)}"
    name = f"{quoted(schema)}.{quoted(scratch[1])}"
    with closing(connect(source)) as connection:
        execute(connection, f"CREATE TABLE {name} (id INT PRIMARY KEY) ENGINE = InnoDB")
        try:
            yield scratch
        finally:
            execute(connection, f"DROP TABLE {name}")


def _prepared(connection: SourceConnection) -> Iterator[Fact]:
    try:
        names = prepared_transactions(connection)
    except PrivilegeError as error:
        yield Fact("cutover-privileges", error.place, error.message, error.hint)
        return
    if names:
        yield Fact("cutover-prepared", "XA RECOVER", f"prepared XA transactions: {', '.join(names[:3])}")


def _privileges(connection: Mysql, tables: Sequence[Name], rights: Sequence[str]) -> Iterator[Fact]:
    grants = grants_of(connection)
    user = rows_as_dicts(connection, "SELECT CURRENT_USER() AS user")[0]["user"]
    for schema, name in tables:
        lacking = [right for right in rights if not may(grants, right, schema=schema, table=name)]
        if lacking:
            grant = f"GRANT {', '.join(rights)} ON {quoted(schema)}.* to this account"
            yield Fact("cutover-privileges", f"user {user}", f"lacks {' and '.join(lacking)} on {schema}.{name}", grant)


def _writers_past_triggers(connection: Mysql) -> Iterator[Fact]:
    """Who writes without firing a trigger, or fires it on another server."""
    has = variables(connection)
    if has.get("wsrep_on", "OFF").upper() in ("ON", "1"):
        yield Fact("cutover-cluster", "wsrep_on", "is ON: another node may commit past the lock")
    if has.get("group_replication_single_primary_mode", "ON").upper() == "OFF":
        yield from _other_primaries(connection)


def _other_primaries(connection: Mysql) -> Iterator[Fact]:
    place = "group_replication_single_primary_mode"
    try:
        members = rows_as_dicts(connection, "SELECT 1 FROM performance_schema.replication_group_members")
    except PrivilegeError:
        grant = "GRANT SELECT ON performance_schema.replication_group_members to this account"
        yield Fact("cutover-cluster", place, "is OFF, and the account may not ask who else takes writes", grant)
        return
    if len(members) > 1:
        yield Fact("cutover-cluster", place, f"is OFF: {len(members)} servers take writes")


def replica_facts(connection: Mysql) -> Iterator[Fact]:
    """That the source is a replica, or nobody knows. To be asked before anything is written to it, even to a table of
    our own: a replica of MariaDB in gtid_strict_mode takes nothing more from its primary afterwards.

    Whoever asks needs SLAVE MONITOR on MariaDB. Without it what everybody may see must say that nothing was ever
    replicated here: a replica that only stands still may go on at any moment.
    """
    try:
        for each in replica_status(connection):
            host = each.get("Source_Host", each.get("Master_Host"))
            yield Fact("cutover-replica", "source", f"replicates from {host}, and triggers do not stop what comes so")
    except PrivilegeError as error:
        running = rows_as_dicts(connection, "SHOW GLOBAL STATUS LIKE 'Slaves_running'")
        if running and int(running[0]["Value"]):
            yield Fact("cutover-replica", "source", "is a replica, and triggers do not stop what comes so")
        elif not running or variables(connection).get("gtid_slave_pos"):
            grant = "GRANT SLAVE MONITOR ON *.* (MySQL: REPLICATION CLIENT) to this account"
            yield Fact("cutover-privileges", error.place, "may not ask whether the source is a replica", grant)


def _foreign_keys(connection: Mysql, tables: Sequence[Name]) -> Iterator[Fact]:
    """Between ``tables`` and others, in either direction."""
    schemas = sorted({schema for schema, _ in tables})
    places = ", ".join(["%s"] * len(schemas))
    for row in rows_as_dicts(
        connection,
        "SELECT k.CONSTRAINT_NAME AS name, k.TABLE_SCHEMA AS child_schema, k.TABLE_NAME AS child, "
        "k.REFERENCED_TABLE_SCHEMA AS parent_schema, k.REFERENCED_TABLE_NAME AS parent, "
        "r.UPDATE_RULE AS on_update, r.DELETE_RULE AS on_delete FROM information_schema.KEY_COLUMN_USAGE k "
        "LEFT JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA "
        "AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME "
        "WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND k.ORDINAL_POSITION = 1 "
        f"AND (k.TABLE_SCHEMA IN ({places}) OR k.REFERENCED_TABLE_SCHEMA IN ({places}))",
        (*schemas, *schemas),
    ):
        child, parent = (row["child_schema"], row["child"]), (row["parent_schema"], row["parent"])
        if (child in tables) == (parent in tables):
            continue
        inside, outside = (child, parent) if child in tables else (parent, child)
        said = f"foreign key {row['name']} binds it to {'.'.join(outside)}, which is not cut over with it"
        # Where the rules are hidden from the account they may be anything.
        rules = [row["on_update"], row["on_delete"]]
        acts = child in tables and any(rule not in ("RESTRICT", "NO ACTION") for rule in rules)
        yield Fact("cutover-cascade" if acts else "cutover-bound", ".".join(inside), said)


def _triggers(connection: Mysql, tables: Sequence[Name]) -> Iterator[Fact]:
    """As far as the account may see them (TRIGGER), in the schemas of the tables."""
    for row in all_triggers(connection, tables):
        on, name = (row["schema"], row["on_table"]), row["name"]
        if is_ours(row):
            continue
        if on in tables:
            yield Fact("cutover-triggers", ".".join(on), f"{row['timing']} {row['event']}: {name}")
        elif written := [table for table in tables if may_write(row, table)]:
            yield Fact("cutover-triggered", ".".join(on), f"its trigger {name} writes to {'.'.join(written[0])}")


def _events(connection: Mysql, tables: Sequence[Name]) -> Iterator[Fact]:
    """To an account without EVENT there are none."""
    grants = grants_of(connection)
    for schema in sorted({schema for schema, _ in tables}):
        if not may(grants, "EVENT", schema=schema):
            grant = f"GRANT EVENT ON {quoted(schema)}.* to this account, to have them listed"
            yield Fact("cutover-events", schema, "the account has no EVENT: nobody knows whether there are any", grant)
        with suppress(SourceError, PrivilegeError):
            for row in rows_as_dicts(
                connection,
                "SELECT EVENT_NAME AS name FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s "
                "AND STATUS = 'ENABLED'",
                (schema,),
            ):
                yield Fact("cutover-events", schema, f"event {row['name']} is enabled")


def _long_transactions(connection: Mysql) -> Iterator[Fact]:
    """As far as the account may see them (PROCESS)."""
    with suppress(PrivilegeError, SourceError):
        for row in rows_as_dicts(
            connection,
            "SELECT trx_mysql_thread_id AS session, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS seconds "
            "FROM information_schema.INNODB_TRX WHERE trx_started < NOW() - INTERVAL 5 SECOND",
        ):
            yield Fact("cutover-long", f"session {row['session']}", f"has a transaction of {row['seconds']} seconds")


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
