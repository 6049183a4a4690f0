"""Statements in the binlog that end a migration, as the error that says why."""

from __future__ import annotations

from collections.abc import Callable

from whimbrel.errors import BEGIN_AGAIN, SchemaDrift, StatementChange, WhimbrelError
from whimbrel.mysql.binlog.statements import Meaning, Statement

START_OVER = f"The table's history cannot be followed over this: {BEGIN_AGAIN}."
REDEFINED = f"The table was altered: {BEGIN_AGAIN}."
_SWAPPED = (
    "Online schema changes (gh-ost, pt-online-schema-change) swap a table for its copy: do them before whimbrel "
    "begins, or use ALTER TABLE. " + START_OVER
)


def unlogged(statement: Statement, sql: str, place: str) -> StatementChange:
    """Of a statement that changed rows without row events, or may have."""
    if statement.meaning is Meaning.DATA:
        message = f"a statement changed rows without row events: {shortened(sql)}"
        return StatementChange(message, place=place, hint=f"Set binlog_format=ROW for all sessions. {START_OVER}")
    message = f"a statement that is not known to be harmless ({statement.why}): {shortened(sql)}"
    hint = f"If it cannot have touched a captured table, please report it, so that whimbrel learns it. {START_OVER}"
    return StatementChange(message, place=place, hint=hint)


def loaded(place: str) -> StatementChange:
    message = "LOAD DATA changed rows without row events"
    return StatementChange(message, place=place, hint=f"Set binlog_format=ROW for all sessions. {START_OVER}")


def altered(sql: str, place: str) -> SchemaDrift:
    return SchemaDrift(f"a captured table was altered: {shortened(sql)}", place=place, hint=START_OVER)


Gone = Callable[[Statement, str, str], None]  # the statement, its text, its place


def refuse_gone(statement: Statement, sql: str, place: str) -> None:
    raise gone(statement, sql, place)


def gone(statement: Statement, sql: str, place: str) -> WhimbrelError:
    """Of a statement that empties, renames or drops a captured table."""
    said = shortened(sql)
    if statement.verb == "TRUNCATE":
        message = f"a captured table was emptied without a row event for each row: {said}"
        hint = f"DELETE instead of TRUNCATE can be followed. {START_OVER}"
        return StatementChange(message, place=place, hint=hint)
    if "RENAME" in sql.upper():
        message = f"a captured table was renamed, or another took its name: {said}"
        return SchemaDrift(message, place=place, hint=_SWAPPED)
    message = f"a captured table, or rows of it, are gone without row events: {said}"
    return SchemaDrift(message, place=place, hint=START_OVER)


def shortened(sql: str) -> str:
    """A statement as it is shown to a person: on one line, its beginning."""
    line = " ".join(sql[:400].split())
    return line if len(line) <= 200 else line[:200] + "…"
