"""The fence: three BEFORE triggers a table that refuse every write but the reverse stream's.

They refuse INSERT IGNORE, REPLACE and ON DUPLICATE KEY UPDATE too, and they outlive a crash of the server. They do not
refuse TRUNCATE and other DDL, rows that a foreign key of another table changes, and a replication thread: the seal
looks for what these did.

The exempt account is told by USER(), which is whoever is connected. CURRENT_USER() would be the trigger's own definer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from whimbrel.errors import FenceBroken, PrivilegeError, SourceError, WhimbrelError
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts
from whimbrel.mysql.errors import Code
from whimbrel.mysql.grants import grants_of, may

Name = tuple[str, str]  # schema and table
EVENTS = ("INSERT", "UPDATE", "DELETE")
PREFIX = "whimbrel_"
_LONGEST = 64  # characters of a trigger's name
_TRUST = (
    "With a binary log, an account without SUPER may create triggers only while log_bin_trust_function_creators is 1: "
    "SET GLOBAL log_bin_trust_function_creators = 1, and set it in my.cnf too, else a restart closes the way to remove "
    "them on MariaDB."
)


class FenceTrigger(NamedTuple):
    """``body`` is the statement that it runs, as the server shows it."""

    table: Name
    event: str
    body: str

    @property
    def name(self) -> str:
        """Of letters, digits and underscores whatever the table is called; two tables never share one."""
        begin = f"{PREFIX}{self.event.lower()}_"
        told = hashlib.sha256("\0".join(self.table).encode()).hexdigest()[:10]
        plain = re.sub(r"[^A-Za-z0-9_]", "_", self.table[1])
        return f"{begin}{plain[: _LONGEST - len(begin) - len(told) - 1]}_{told}"


def fence_triggers(tables: Iterable[Name], epoch: int, exempt: str) -> list[FenceTrigger]:
    """What closes ``tables`` for all but the user ``exempt`` ("": for all). ``epoch`` is the cutover's number."""
    return [FenceTrigger(table, event, _body(epoch, exempt)) for table in tables for event in EVENTS]


def make_triggers(
    execute: Callable[[str], object], triggers: Sequence[FenceTrigger], first: dict[Name, dict[str, str]]
) -> None:
    """Create them by a session that has the tables locked. ``first`` has, by table and event, the BEFORE trigger that
    runs first now: ours must run before it.

    Raises FenceBroken, PrivilegeError, and the errors of ``translate``.
    """
    for each in triggers:
        before = first.get(each.table, {}).get(each.event)
        order = f"PRECEDES {quoted(before)} " if before else ""
        statement = (
            f"CREATE TRIGGER {quoted(each.table[0])}.{quoted(each.name)} BEFORE {each.event} "
            f"ON {quoted(each.table[0])}.{quoted(each.table[1])} FOR EACH ROW {order}{each.body}"
        )
        try:
            execute(statement)
        except WhimbrelError as error:
            raise _refused(error, ".".join(each.table)) from error


def drop_triggers(execute: Callable[[str], object], names: Iterable[Name]) -> None:
    """Remove the triggers of ``names``, each with its schema; those that are gone already are no fault."""
    for schema, name in names:
        try:
            execute(f"DROP TRIGGER IF EXISTS {quoted(schema)}.{quoted(name)}")
        except WhimbrelError as error:
            raise _refused(error, f"{schema}.{name}") from error


def fence_faults(connection: Mysql, wanted: Sequence[FenceTrigger]) -> list[str]:
    """What the server shows of the fence that is not as it was made: none if all stand, with their text."""
    found = {(row["schema"], row["name"]): row for row in _triggers(connection, {each.table for each in wanted})}
    faults = []
    for each in wanted:
        row = found.get((each.table[0], each.name))
        if row is None:
            faults.append(f"the trigger {each.name} of {'.'.join(each.table)} is gone")
        elif (row["timing"], row["event"], row["on_table"]) != ("BEFORE", each.event, each.table[1]):
            faults.append(f"the trigger {each.name} is not a BEFORE {each.event} trigger of {'.'.join(each.table)}")
        elif row["body"] != each.body:
            faults.append(f"the trigger {each.name} of {'.'.join(each.table)} has another text: {row['body'][:100]}")
    return faults


def refuse_blind(connection: Mysql, tables: Iterable[Name]) -> None:
    """Raises PrivilegeError: to an account without TRIGGER a table has no triggers, so it could not say that none
    stand.
    """
    grants = grants_of(connection)
    for schema, name in tables:
        if not may(grants, "TRIGGER", schema=schema, table=name):
            raise PrivilegeError(
                "lacks TRIGGER, and so cannot see whether the fence stands",
                place=f"{schema}.{name}",
                hint="GRANT TRIGGER on the table to whimbrel's account.",
            )


def standing(connection: Mysql, tables: Iterable[Name]) -> list[Name]:
    """The schema and name of every trigger of ours on ``tables``, of whatever epoch."""
    return [(row["schema"], row["name"]) for row in _triggers(connection, set(tables)) if is_ours(row)]


def first_triggers(connection: Mysql, tables: Iterable[Name]) -> dict[Name, dict[str, str]]:
    """By table and event, the first BEFORE trigger that is not ours."""
    first: dict[Name, dict[str, str]] = {}
    for row in sorted(_triggers(connection, set(tables)), key=lambda row: int(row["place"])):
        if row["timing"] == "BEFORE" and not is_ours(row):
            first.setdefault((row["schema"], row["on_table"]), {}).setdefault(row["event"], row["name"])
    return first


def may_write(trigger: dict[str, Any], table: Name) -> bool:
    """Whether a statement of the trigger changes rows and names ``table``; a routine that it calls is not looked at."""
    spelled = re.escape(table[1].replace("`", "``"))
    writes = rf"\b(INSERT|REPLACE|UPDATE|DELETE)\b[^;]*?(?<![\w$]){spelled}(?![\w$])"
    return re.search(writes, trigger["body"], re.IGNORECASE) is not None


def is_ours(row: dict[str, Any]) -> bool:
    events = "|".join(event.lower() for event in EVENTS)
    return re.fullmatch(rf"{PREFIX}({events})_\w*_[0-9a-f]{{10}}", row["name"]) is not None


def _triggers(connection: Mysql, tables: set[Name]) -> list[dict[str, Any]]:
    """All triggers of ``tables`` that the account may see: those of tables on which it has TRIGGER."""
    return [row for row in all_triggers(connection, tables) if (row["schema"], row["on_table"]) in tables]


def all_triggers(connection: Mysql, tables: Iterable[Name]) -> list[dict[str, Any]]:
    """Also those of other tables, in the schemas of ``tables``."""
    found: list[dict[str, Any]] = []
    for schema in sorted({schema for schema, _ in tables}):
        found += rows_as_dicts(
            connection,
            "SELECT TRIGGER_SCHEMA AS `schema`, TRIGGER_NAME AS name, EVENT_OBJECT_TABLE AS on_table, "
            "EVENT_MANIPULATION AS event, ACTION_TIMING AS timing, ACTION_ORDER AS place, ACTION_STATEMENT AS body "
            "FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s",
            (schema,),
        )
    return found


def _body(epoch: int, exempt: str) -> str:
    """Without a quote or a letter that a character set could change: a name may have any character.

    A user's name may have an @ in it, and a host's may not: the name ends at the last one.
    """
    message = f"whimbrel: writes to this table were closed by cutover {epoch}"
    refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}'"
    if not exempt:
        return refuse
    name = "CAST(LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER()))) AS BINARY)"
    return f"IF {name} <> X'{exempt.encode().hex().upper()}' THEN {refuse}; END IF"


def _refused(error: WhimbrelError, place: str) -> WhimbrelError:
    if isinstance(error, SourceError) and error.code == Code.BINLOG_CREATE_ROUTINE_NEED_SUPER:
        return FenceBroken("the server refuses the triggers of the fence (error 1419)", place=place, hint=_TRUST)
    if isinstance(error, PrivilegeError):
        return PrivilegeError(error.message, place=place, hint="GRANT TRIGGER on the table to whimbrel's account.")
    return error
