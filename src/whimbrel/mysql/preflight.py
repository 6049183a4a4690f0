"""Preflight: what about the server, the account and the tables stands in the way of an exact migration.

Each fault has a code that stays the same from version to version; ``whimbrel check`` and docs/check.md name them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pymysql

from whimbrel.errors import PrivilegeError, UnsupportedSource, WhimbrelError
from whimbrel.mysql.connect import (
    Mysql,
    ServerInfo,
    binlog_status,
    quoted,
    replica_status,
    rows_as_dicts,
    server_info,
    translate,
    translated,
)
from whimbrel.mysql.facts import Facts, Question
from whimbrel.mysql.grants import grants_of, may
from whimbrel.mysql.schema import facts_of
from whimbrel.mysql.visible import sees_commits
from whimbrel.records import Table

OLDEST = {"mysql": (8, 0, 0), "mariadb": (10, 5, 0)}
GENERATED_NOT_LOGGED = (11, 0, 0)  # seen in 11.8; 10.11 logs them
WANTED = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL"}
_ROW_VALUES = "binlog_row_value_options"  # of MySQL

_ENGINE = Question("ENGINE", "TABLES", "TABLE_NAME")
_EXTRA = Question("COLUMN_NAME, EXTRA", "COLUMNS", "ORDINAL_POSITION")


class SourceFault(NamedTuple):
    code: str
    error: WhimbrelError


def check_source(connection: Mysql, tables: Iterable[Table]) -> None:
    """Raise the first thing that would make a migration of ``tables`` lose something: UnsupportedSource or
    PrivilegeError.

    ``source_faults`` gives all of them at once.
    """
    for fault in source_faults(connection, tables):
        raise fault


def source_faults(connection: Mysql, tables: Iterable[Table]) -> Iterator[WhimbrelError]:
    """Everything about the server, the account and ``tables`` that stands in the way of an exact migration."""
    return (fault.error for fault in named_faults(connection, tables))


def named_faults(connection: Mysql, tables: Iterable[Table]) -> Iterator[SourceFault]:
    """As ``source_faults``, each with its code."""
    info, tables = server_info(connection), list(tables)
    yield from _setting_faults(connection, info)
    yield from _privilege_faults(connection, info, tables)
    yield from table_faults(connection, info, tables)


def variables(connection: Mysql, *names: str) -> dict[str, str]:
    """The server's global variables, by their names in lower case: those of ``names`` that it has, or all, which are
    a thousand.
    """
    wanted = f" WHERE Variable_name IN ({', '.join(repr(name) for name in names)})" if names else ""
    rows = rows_as_dicts(connection, f"SHOW GLOBAL VARIABLES{wanted}")
    return {row["Variable_name"].lower(): row["Value"] for row in rows}


def unlogged(connection: Mysql, tables: Iterable[Table]) -> Iterator[SourceFault]:
    """What keeps changes of ``tables`` out of the binlog, so that no later reading of it has them."""
    has = rows_as_dicts(connection, "SHOW GLOBAL VARIABLES LIKE 'log_bin'")[0]["Value"]
    if has.upper() != WANTED["log_bin"]:
        yield _binlog_off(has)
        return
    yield from _filter_faults(connection, list(tables))


def _binlog_off(has: str) -> SourceFault:
    return _unsupported("log-bin", f"is {has}, must be ON", "log_bin", "Start the server with --log-bin")


def _setting_faults(connection: Mysql, info: ServerInfo) -> Iterator[SourceFault]:
    relaying = ("log_replica_updates", "log_slave_updates")  # by its new name, and by its old one
    has = variables(connection, *WANTED, _ROW_VALUES, *relaying)
    yield from _version_faults(info)
    yield from _binlog_faults(has)
    relays = next((has[name] for name in relaying if name in has), "ON")
    with contextlib.suppress(PrivilegeError):
        if relays == "OFF" and replica_status(connection):
            yield _unsupported(
                "replica-not-logged",
                "is OFF on a replica: what it replicates is not in its binlog",
                "log_replica_updates",
                "Turn it on, or migrate from the primary",
            )


def _version_faults(info: ServerInfo) -> Iterator[SourceFault]:
    oldest = OLDEST[info.flavor]
    if info.version < oldest:
        version, least = (".".join(map(str, numbers)) for numbers in (info.version, oldest))
        message = f"{info.flavor} {version} is older than {least}"
        yield _unsupported("server-version", message, "server version", "Upgrade it")


def _binlog_faults(has: Mapping[str, str]) -> Iterator[SourceFault]:
    for name, value in WANTED.items():
        if has.get(name, "OFF").upper() == value:
            continue
        if name == "log_bin":
            yield _binlog_off(has.get(name, "OFF"))
            continue
        hint = f"SET GLOBAL {name} = {value}, and reconnect the writers"
        yield _unsupported(name.replace("_", "-"), f"is {has.get(name)}, must be {value}", name, hint)
    if "PARTIAL_JSON" in has.get(_ROW_VALUES, ""):
        yield _unsupported(
            "partial-json",
            "has PARTIAL_JSON: changed JSON documents are not whole in the binlog",
            _ROW_VALUES,
            "SET GLOBAL binlog_row_value_options = '', and reconnect the writers",
        )


def _privilege_faults(connection: Mysql, info: ServerInfo, tables: list[Table]) -> Iterator[SourceFault]:
    user = rows_as_dicts(connection, "SELECT CURRENT_USER() AS user")[0]["user"]
    place, hint = f"user {user}", f"{_grant_statement(str(user))}"

    def lacking(message: str) -> SourceFault:
        return SourceFault("privileges", PrivilegeError(message, place=place, hint=hint))

    grants = grants_of(connection)
    try:
        binlog_status(connection)
        if info.flavor == "mysql":
            rows_as_dicts(connection, "SHOW BINLOG EVENTS LIMIT 1")  # asks for REPLICATION SLAVE; MariaDB asks for less
        elif not may(grants, "REPLICATION SLAVE"):
            yield lacking("lacks REPLICATION SLAVE")
    except PrivilegeError as error:
        yield lacking(error.message)
    except UnsupportedSource:
        return  # no binlog: said by the settings
    locked = all(may(grants, "LOCK TABLES", schema=schema) for schema in {table.schema for table in tables})
    if tables and info.flavor == "mysql" and not locked and not sees_commits(connection):
        yield lacking("lacks SELECT on performance_schema, and LOCK TABLES on the schema: one is needed for the start")


def _grant_statement(user: str) -> str:
    name, _, host = user.rpartition("@")
    account = "@".join("'" + part.replace("'", "''") + "'" for part in (name, host))
    return f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account}"


def table_faults(connection: Mysql, info: ServerInfo, tables: Sequence[Table]) -> Iterator[SourceFault]:
    """What about these tables stands in the way."""
    if not tables:
        return
    yield from _filter_faults(connection, tables)
    engines = rows_as_dicts(
        connection, "SELECT ENGINE AS name FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'"
    )
    transactional = {row["name"] for row in engines}
    cascades_count = not binlogs_cascades(connection, info)
    known = facts_of(connection, [(table.schema, table.name) for table in tables])
    for table, facts in zip(tables, known, strict=True):
        if not (found := facts.of(_ENGINE, table.schema, table.name)):
            yield _unsupported(
                "no-table", "does not exist, or may not be read", table.full_name, "Check its name and the grants"
            )
            continue
        if found[0]["ENGINE"] not in transactional:
            yield _unsupported(
                "engine",
                f"engine {found[0]['ENGINE']} has no transactions",
                table.full_name,
                f"ALTER TABLE {quoted(table.schema)}.{quoted(table.name)} ENGINE = InnoDB",
            )
        if info.flavor == "mariadb" and info.version >= GENERATED_NOT_LOGGED:
            yield from _generated_faults(facts, table)
        if cascades_count:
            yield from _cascade_faults(connection, table)
        yield from _unreadable(connection, table)


def _unreadable(connection: Mysql, table: Table) -> Iterator[SourceFault]:
    with translated(table.full_name), connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT 1 FROM {quoted(table.schema)}.{quoted(table.name)} LIMIT 0")
        except pymysql.err.Error as error:
            yield SourceFault("privileges", translate(error, table.full_name))


def _generated_faults(facts: Facts, table: Table) -> Iterator[SourceFault]:
    """MariaDB 11.8 leaves generated columns, stored ones too, out of the row images of UPDATE and DELETE."""
    for fact in facts.of(_EXTRA, table.schema, table.name):
        if " GENERATED" in fact["EXTRA"].upper():
            column = fact["COLUMN_NAME"]
            yield _unsupported(
                "generated-column",
                f"column {column} is generated: this server leaves it out of the binlog of UPDATE and DELETE",
                table.full_name,
                "Migrate from a replica of an older release (10.11 has it), or make it a plain column",
            )


def _filter_faults(connection: Mysql, tables: Sequence[Table]) -> Iterator[SourceFault]:
    """binlog_do_db and binlog_ignore_db, which only SHOW BINARY LOG STATUS tells."""
    try:
        status = binlog_status(connection)
    except (PrivilegeError, UnsupportedSource):
        return
    only = [name for name in status["Binlog_Do_DB"].split(",") if name]
    ignored = status["Binlog_Ignore_DB"].split(",")
    for table in tables:
        if (only and table.schema not in only) or table.schema in ignored:
            yield _unsupported(
                "binlog-filter",
                "its database is left out of the binlog",
                table.full_name,
                "Change binlog_do_db or binlog_ignore_db",
            )


def binlogs_cascades(connection: Mysql, info: ServerInfo) -> bool:
    """Since 9.6 MySQL carries out foreign keys above the engine, so that their changes reach the binlog, unless told
    otherwise.
    """
    return (
        info.flavor == "mysql"
        and info.version >= (9, 6, 0)
        and variables(connection, "innodb_native_foreign_keys").get("innodb_native_foreign_keys") != "ON"
    )


def _cascade_faults(connection: Mysql, table: Table) -> Iterator[SourceFault]:
    """Rows that InnoDB changes through a foreign key never reach the binlog.

    Read from SHOW CREATE TABLE: MariaDB hides information_schema.REFERENTIAL_CONSTRAINTS from an account that may only
    read.
    """
    try:
        rows = rows_as_dicts(connection, f"SHOW CREATE TABLE {quoted(table.schema)}.{quoted(table.name)}")
    except PrivilegeError as error:
        yield SourceFault("privileges", error)
        return
    for name, action in cascades(str(rows[0]["Create Table"])):
        yield _unsupported(
            "cascade",
            f"foreign key {name} has {action}: such changes are not in the binlog",
            table.full_name,
            "Let the application make these changes, and define the key with RESTRICT",
        )


_FOREIGN_KEY = re.compile(r"^\s*CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY (.*)$", re.MULTILINE)


def cascades(create_table: str) -> list[tuple[str, str]]:
    """(foreign key, action) for each one of the statement that changes rows by itself: ``("c", "ON DELETE CASCADE")``.

    The servers print each constraint on a line of its own.
    """
    found = []
    for name, rest in _FOREIGN_KEY.findall(create_table):
        without_names = re.sub(r"`(?:[^`]|``)*`", "", rest)
        for action in re.findall(r"ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT)", without_names):
            found.append((name.replace("``", "`"), action))
    return found


def _unsupported(code: str, message: str, place: str, hint: str) -> SourceFault:
    return SourceFault(code, UnsupportedSource(message, place=place, hint=hint))
