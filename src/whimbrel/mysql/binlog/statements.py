"""Statements in the binlog: which of them end a transaction, and which change a captured table without row events."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum, auto


class Meaning(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SAVEPOINT = auto()
    PARTIAL_ROLLBACK = auto()
    XA = auto()
    HARMLESS = auto()
    DEFINITION = auto()  # of a captured table: its columns, its name or its end
    DATA = auto()  # rows that a statement changed, without row events


_COMMENT = re.compile(r"\s+|/\*(?!M?!)(?:.|\n)*?\*/|--[ \t][^\n]*\n?|#[^\n]*\n?|/\*M?!\d*|\(")
_CONTROL = {
    "BEGIN": Meaning.BEGIN,
    "COMMIT": Meaning.COMMIT,
    "ROLLBACK": Meaning.ROLLBACK,
    "SAVEPOINT": Meaning.SAVEPOINT,
    "RELEASE": Meaning.SAVEPOINT,
    "XA": Meaning.XA,
}
_HARMLESS = frozenset(
    """SET FLUSH ANALYZE OPTIMIZE REPAIR CHECK GRANT REVOKE INSTALL UNINSTALL USE SHOW EXPLAIN KILL PURGE CHANGE START
    STOP RESET LOCK UNLOCK CACHE SHUTDOWN""".split()  # noqa: SIM905
)
_OTHER_OBJECTS = frozenset(
    """TEMPORARY VIEW FUNCTION PROCEDURE TRIGGER EVENT USER ROLE SERVER INDEX SEQUENCE PACKAGE TABLESPACE LOGFILE
    RESOURCE SPATIAL LIBRARY AGGREGATE DEFINER UNIQUE FULLTEXT VECTOR SQL ALGORITHM INSTANCE UNDO""".split()  # noqa: SIM905
)
_WORD = re.compile(r"[A-Za-z_]+")


def first_words(sql: str, count: int = 3) -> list[str]:
    """In capitals, without comments before and between them. ``/*!50001 CREATE */`` is what it holds."""
    words: list[str] = []
    at = 0
    while len(words) < count and at < len(sql):
        if found := _COMMENT.match(sql, at):
            at = found.end()
        elif found := _WORD.match(sql, at):
            words.append(found[0].upper())
            at = found.end()
        else:
            break
    return words


def meaning(sql: str, schema: str, captured: Collection[tuple[str, str]]) -> Meaning:
    """``schema`` is the session's default one.

    A statement that changes rows anywhere counts as one that changes captured rows: it may do so through a view, a
    trigger or a foreign key, and nothing in the binlog would say so. Only TRUNCATE cannot.
    """
    words = first_words(sql)
    verb, second = (*words, "", "")[:2]
    if verb in _CONTROL:
        if verb == "ROLLBACK" and "TO" in words:
            return Meaning.PARTIAL_ROLLBACK
        return _CONTROL[verb]
    if not verb or verb in _HARMLESS:
        return Meaning.HARMLESS
    if verb == "TRUNCATE":
        return Meaning.DATA if names_captured(sql, schema, captured) else Meaning.HARMLESS
    if verb in ("CREATE", "ALTER", "DROP", "RENAME"):
        return _definition(sql, verb, second, words, schema, captured)
    return Meaning.DATA


def _definition(
    sql: str, verb: str, second: str, words: list[str], schema: str, captured: Collection[tuple[str, str]]
) -> Meaning:
    if second in ("DATABASE", "SCHEMA"):
        gone = verb == "DROP" and any(_mentions(sql, name) for name, _ in captured)
        return Meaning.DEFINITION if gone else Meaning.HARMLESS
    if "OR" in words and verb == "CREATE":  # CREATE OR REPLACE TABLE drops the table
        replaces_table = re.search(r"\bREPLACE\s+TABLE\b", sql, re.IGNORECASE)
        return Meaning.DEFINITION if replaces_table and names_captured(sql, schema, captured) else Meaning.HARMLESS
    if second in _OTHER_OBJECTS or verb == "CREATE":
        return Meaning.HARMLESS
    return Meaning.DEFINITION if names_captured(sql, schema, captured) else Meaning.HARMLESS


def names_captured(sql: str, schema: str, captured: Collection[tuple[str, str]]) -> bool:
    """A captured table's name stands in it, where the default schema is that table's or the schema stands in it too."""
    return any(_mentions(sql, table) and (owner == schema or _mentions(sql, owner)) for owner, table in captured)


def _mentions(sql: str, name: str) -> bool:
    plain = re.escape(name.replace("`", "``"))
    return re.search(rf"(?<![\w$]){plain}(?![\w$])", sql, re.IGNORECASE) is not None
