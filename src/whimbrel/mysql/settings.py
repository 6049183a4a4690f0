"""What every session of ours is set to: all that changes what a SELECT returns, or whether it works.

A server gives each new session its global values and what ``init_connect`` sets, so none of them is what it usually is:
with ``sql_select_limit = 1000`` a table ends at its thousandth row without a word. Everything is therefore set here,
and read back. The names are those of MySQL 8.0 to 9.7 and MariaDB 10.5 to 11.8; a server that does not have one leaves
it out. Not in the list is what changes only speed, only writes, or only messages in the server's log.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.errors import ENDED, Code, code_of

Setting: TypeAlias = "str | int | None"

CHARSET, COLLATION = "utf8mb4", "utf8mb4_general_ci"
_MOST = 2**64 - 1
_DAY, _HOUR, _FIVE_MINUTES = 86_400, 3_600, 300

# Every server has these. They come first: with them as they were, the rest could not be read.
BASIC: dict[str, Setting] = {
    "sql_select_limit": _MOST,
    "max_join_size": _MOST,
    "sql_big_selects": 1,  # after max_join_size, which switches it off
    "sql_mode": "",
    "completion_type": "NO_CHAIN",
    "autocommit": 1,
    "time_zone": "+00:00",
    "character_set_client": CHARSET,
    "character_set_connection": CHARSET,
    "collation_connection": COLLATION,
    # Text arrives in its column's own bytes: the server never replaces what it cannot convert by a "?".
    "character_set_results": None,
}
# MariaDB's and MySQL's limit of time. It goes before all: with a millisecond, the rest might not come to its end.
LIMITS = {"max_statement_time", "max_execution_time"}
# Set where the server has them and they differ: some may only be set by an account with more privileges than ours.
MORE: dict[str, Setting] = {
    # what there is to see
    "transaction_isolation": "REPEATABLE-READ",
    "tx_isolation": "REPEATABLE-READ",  # its name in MariaDB before 11.1
    "transaction_read_only": 0,
    "tx_read_only": 0,
    "system_versioning_asof": "DEFAULT",
    "show_gipk_in_create_table_and_information_schema": 1,
    "use_secondary_engine": "OFF",
    "wsrep_dirty_reads": 0,
    "query_cache_type": "OFF",
    "sql_auto_is_null": 0,
    # how values are printed, compared and computed
    "lc_time_names": "en_US",
    "default_collation_for_utf8mb4": "utf8mb4_0900_ai_ci",
    "character_set_collations": "",
    "old": 0,
    "old_mode": "",
    "new_mode": "",
    "div_precision_increment": 4,
    "default_week_format": 0,
    "group_concat_max_len": 1 << 20,
    "max_sort_length": 1024,
    "windowing_use_high_precision": 1,
    "block_encryption_mode": "aes-128-ecb",
    "default_regex_flags": "",
    "max_recursive_iterations": 2**32 - 1,
    "cte_max_recursion_depth": 2**32 - 1,
    # what is printed about tables and statements
    "sql_quote_show_create": 1,
    "show_create_table_verbosity": 0,
    "show_create_table_skip_secondary_engine": 0,
    "show_old_temporals": 0,
    "explain_format": "TRADITIONAL",
    "information_schema_stats_expiry": _DAY,
    "lc_messages": "en_US",
    # limits at which a statement is refused or broken off
    "max_session_mem_used": 2**63 - 1,
    "tmp_disk_table_size": _MOST,
    "max_tmp_session_space_usage": 0,
    "sql_safe_updates": 0,
    "sql_buffer_result": 0,
    # how long to wait: the server writes to us for as long as we pause under load
    "lock_wait_timeout": _FIVE_MINUTES,
    "innodb_lock_wait_timeout": 50,
    "net_write_timeout": _HOUR,
    "net_read_timeout": _HOUR,
    "wait_timeout": _DAY,
    "interactive_timeout": _DAY,
    "idle_transaction_timeout": 0,
    "idle_readonly_transaction_timeout": 0,
    "idle_write_transaction_timeout": 0,
}

# Of a session that writes rows back, besides: what would change a value without an error, or other rows than those
# named. Zero dates, and days that no month has, are written as the table may have them already.
WRITING: dict[str, Setting] = {
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ALLOW_INVALID_DATES",
    "foreign_key_checks": 0,  # no cascades: what the items say of other rows, their own changes do
    "unique_checks": 1,
    "range_optimizer_max_mem_size": 0,  # no limit: beyond it the server reads, and locks, the whole table
    "sql_notes": 1,  # blanks that a column has no room for are dropped with a mere note
    "innodb_lock_wait_timeout": 5,
    "transaction_isolation": "READ-COMMITTED",  # no locks on what is not there
    "tx_isolation": "READ-COMMITTED",
    "check_constraint_checks": 1,
}

Rows: TypeAlias = "list[tuple[Any, ...]]"
# Statements to execute, one after the other. Each is answered by its rows, or by the client's error thrown in.
Steps: TypeAlias = "Generator[str, Rows, None]"
Changed: TypeAlias = "dict[str, Setting]"  # those of MORE and LIMITS that a session was set to


def settle(place: str, before: Changed | None = None) -> Generator[str, Rows, Changed]:
    """Set a new session and read it back; whoever has the connection executes the statements.

    ``before`` is what it returned for an earlier connection: that is set at once with the rest, which saves two
    answers. Everything is read back all the same. Raises UnsupportedSource with the variable's name, the value it must
    have and the value it has.
    """
    before = before or {}
    yield from _set_basic(place, before)
    # What init_connect may have begun; said in full, so that completion_type has no part in it.
    yield "ROLLBACK AND NO CHAIN NO RELEASE"
    shown = yield from _shown()
    for name, value in BASIC.items():  # first of all that nothing cuts off what is shown
        if name not in shown or not _shows(value, shown[name]):
            raise _refused(name, value, shown.get(name), place, "")
    wanted = {name: value for name, value in MORE.items() if name in shown} | dict.fromkeys(LIMITS & shown.keys(), 0)
    others = {name: value for name, value in wanted.items() if not _shows(value, shown[name])}
    if others:
        yield from _set(others, place)
        yield from _check(others, place)
    return {name: value for name, value in wanted.items() if name in LIMITS or name in others or name in before}


def settle_writing(place: str) -> Steps:
    """The same for a session that writes, once ``settle`` is through."""
    names = ", ".join(f"'{name}'" for name in WRITING)
    rows = yield f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"
    there = {str(row[0]).lower() for row in rows}
    wanted = {name: value for name, value in WRITING.items() if name in there}
    yield from _set(wanted, place)
    yield from _check(wanted, place)


def _shown() -> Generator[str, Rows, dict[str, str]]:
    """The settings that the server has, as it shows them. One statement, with two columns, for all: every connection
    waits for it, and a column for each takes the client libraries longer than all else here.
    """
    names = ", ".join(f"'{name}'" for name in (*BASIC, *MORE, *sorted(LIMITS)))
    rows = yield f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"
    if any(len(row) != 2 for row in rows):
        raise UnsupportedSource("shows no values of its own variables", place="the source's session", hint=_HINT)
    return {str(row[0]).lower(): str(row[1]) for row in rows}


def _set_basic(place: str, before: Changed) -> Steps:
    """In one statement, with the limit of time that this server has; one by one only where that is refused."""
    limits: Changed = {name: 0 for name in before if name in LIMITS}
    together: list[Changed] = [{**limits, **BASIC, **before}] if before else []
    for settings in (*together, {"max_statement_time": 0, **BASIC}, {"max_execution_time": 0, **BASIC}):
        try:
            yield _assignments(settings)
        except Exception as error:
            if not _is_refusal(error):
                raise
        else:
            return
    yield from _no_limit()
    yield from _set(BASIC, place)


def _no_limit() -> Steps:
    for name in sorted(LIMITS):
        try:
            yield f"SET SESSION {name} = 0"
        except Exception as error:
            if code_of(error) != Code.UNKNOWN_SYSTEM_VARIABLE:
                raise


def _set(settings: dict[str, Setting], place: str) -> Steps:
    if not settings:
        return
    try:
        yield _assignments(settings)
    except Exception as error:
        if not _is_refusal(error):
            raise
        yield from _set_one_by_one(settings, place)


def _set_one_by_one(settings: dict[str, Setting], place: str) -> Steps:
    """Which of them it was."""
    for name, value in settings.items():
        try:
            yield f"SET {_assignment(name, value)}"
        except Exception as error:
            if not _is_refusal(error):
                raise
            found = yield from _values({name: value})
            raise _refused(name, value, found[name], place, f" ({error.args[1]})") from error


def _is_refusal(error: Exception) -> bool:
    """The server's answer to the statement, rather than a connection that broke (client errors are 2000 to 2999)."""
    code = code_of(error) if len(error.args) > 1 else 0
    return code >= 1000 and not 2000 <= code < 3000 and code not in ENDED


def _check(settings: dict[str, Setting], place: str) -> Steps:
    found = yield from _values(settings)
    for name, value in settings.items():
        if not _same(value, found[name]):
            raise _refused(name, value, found[name], place, "")


def _values(settings: dict[str, Setting]) -> Generator[str, Rows, dict[str, Any]]:
    rows = yield "SELECT " + ", ".join(f"@@SESSION.{name}" for name in settings)
    if len(rows) != 1 or len(rows[0]) != len(settings):
        raise UnsupportedSource("gave no row for its own variables", place="the source's session", hint=_HINT)
    return dict(zip(settings, rows[0], strict=True))


def _assignments(settings: dict[str, Setting]) -> str:
    return "SET " + ", ".join(_assignment(*setting) for setting in settings.items())


def _assignment(name: str, value: Setting) -> str:
    if value is None:
        return f"SESSION {name} = NULL"
    if name == "system_versioning_asof":
        return f"SESSION {name} = DEFAULT"  # 'DEFAULT' would be read as a time
    return f"SESSION {name} = {value}" if isinstance(value, int) else f"SESSION {name} = '{value}'"


def _same(wanted: Setting, found: Any) -> bool:
    if isinstance(wanted, int):
        try:
            return Decimal(str(found)) == wanted
        except InvalidOperation:
            return False
    return bool(found == wanted)


def _shows(wanted: Setting, shown: str) -> bool:
    """Whether SHOW VARIABLES shows what is wanted: a switch by its name, and NULL as nothing."""
    if shown == str(wanted):
        return True
    if isinstance(wanted, int):
        return _same(wanted, {"ON": 1, "OFF": 0}.get(shown, shown))
    return shown == (wanted or "")


def _refused(name: str, wanted: Setting, found: Any, place: str, why: str) -> UnsupportedSource:
    shown = "NULL" if wanted is None else repr(wanted)
    return UnsupportedSource(f"the session must have {name} = {shown}, and has {found!r}{why}", place=place, hint=_HINT)


_HINT = "What a SELECT returns depends on it: see the server's global value, its init_connect, and any proxy before it."
