"""Statements in the binlog: which of them end a transaction, and which change a captured table without row events."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum, auto

from whimbrel.mysql.binlog.alterations import alteration, words_of


class Meaning(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SAVEPOINT = auto()
    PARTIAL_ROLLBACK = auto()
    XA = auto()
    HARMLESS = auto()
    ALTERED = auto()  # a captured table, and its columns may be others
    GONE = auto()  # a captured table, or rows of it: dropped, truncated, renamed, replaced
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
    An alteration that touches no column (``alterations.py``) is harmless.
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
        return Meaning.GONE if _is_captured(table_names(sql, schema), captured) else Meaning.HARMLESS
    if verb in ("CREATE", "ALTER", "DROP", "RENAME"):
        return _definition(sql, verb, second, words, schema, captured)
    return Meaning.DATA


def _definition(
    sql: str, verb: str, second: str, words: list[str], schema: str, captured: Collection[tuple[str, str]]
) -> Meaning:
    names = table_names(sql, schema)
    if second in ("DATABASE", "SCHEMA"):
        touched = verb == "DROP" and any(_same(name, owner) for _, name in names for owner, _ in captured)
    elif verb == "CREATE":
        touched = words[1:3] == ["OR", "REPLACE"] and _is_captured(names[:1], captured) and _replaces_table(sql)
    elif second in _OTHER_OBJECTS:
        touched = False
    elif verb == "ALTER" and _is_captured(names, captured):
        return _alter(sql, names, captured)
    else:
        touched = _is_captured(names, captured)
    return Meaning.GONE if touched else Meaning.HARMLESS


def _alter(sql: str, names: list[tuple[str, str]], captured: Collection[tuple[str, str]]) -> Meaning:
    """It may be the first of ``names`` that is captured, or one that it is renamed to or exchanges rows with."""
    found = alteration(sql)
    if found.ends:
        return Meaning.GONE
    return Meaning.ALTERED if found.columns and _is_captured(names[:1], captured) else Meaning.HARMLESS


def altered_table(sql: str, schema: str, captured: Collection[tuple[str, str]]) -> tuple[str, str]:
    """The captured table that a statement which means ALTERED is about, as ``captured`` spells it."""
    name = table_names(sql, schema)[0]
    return next(each for each in captured if _same(each[0], name[0]) and _same(each[1], name[1]))


_BEFORE_NAMES = frozenset({"TABLE", "TABLES", "TO", "AS", "DATABASE", "SCHEMA", "RENAME", "TRUNCATE"})
_BETWEEN = frozenset({"IF", "EXISTS", "NOT", "WAIT", "NOWAIT", "ONLINE", "OFFLINE", "IGNORE", "TABLE", "AS", "TO"})


def table_names(sql: str, schema: str) -> list[tuple[str, str]]:
    """Schema and name of each table that a DROP, TRUNCATE, RENAME, ALTER or CREATE TABLE is about.

    A name stands after one of a few words, or after a comma that follows such a name. That finds also what is no table
    (``RENAME COLUMN a TO b``), which does no harm, but neither the tables of a foreign key nor what stands in quotes.
    """
    words = words_of(sql)
    names: list[tuple[str, str]] = []
    at, expected, depth = 0, False, 0
    while at < len(words):
        text, plain = words[at]
        if plain and text in "()":
            depth += 1 if text == "(" else -1
        if plain and text.upper() in _BEFORE_NAMES:
            expected = depth == 0
        elif expected and (not plain or text[0].isalnum() or text[0] in "_$" or ord(text[0]) > 127):
            if plain and text.upper() in _BETWEEN:
                at += 1
                continue
            parts = [text]
            while at + 2 < len(words) and words[at + 1] == (".", True):
                parts.append(words[at + 2][0])
                at += 2
            names.append((parts[0], parts[1]) if len(parts) > 1 else (schema, parts[0]))
            expected = at + 1 < len(words) and words[at + 1] == (",", True)
            at += expected
        else:
            expected = False
        at += 1
    return names


def _is_captured(names: Collection[tuple[str, str]], captured: Collection[tuple[str, str]]) -> bool:
    return any(_same(a, schema) and _same(b, table) for a, b in names for schema, table in captured)


def _same(name: str, other: str) -> bool:
    """Servers may or may not tell capitals apart; two tables that differ in nothing else are taken for one."""
    return name.lower() == other.lower()


def _replaces_table(sql: str) -> bool:
    return re.search(r"\bREPLACE\s+TABLE\b", sql, re.IGNORECASE) is not None
