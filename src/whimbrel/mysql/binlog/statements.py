"""Statements in the binlog: which of them end a transaction, and which change a captured table without row events.

Harmless is only what is listed here and read to where it cannot concern a captured table any more. All else is DATA,
a statement that changes rows, or UNKNOWN, and ends the capture.

Sources: the grammars sql_yacc.yy of mysql-server 9 and MariaDB 11.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from whimbrel.mysql.binlog.alterations import Alteration, alteration
from whimbrel.mysql.binlog.lexer import Dialect, NotUnderstood, Token, tokens
from whimbrel.mysql.binlog.token_reader import Name, TokenReader
from whimbrel.mysql.charsets import PYTHON_NAMES, python_codec

_HIDES_QUOTES = frozenset({"big5", "cp932", "gb18030", "gbk", "sjis"})  # whose second bytes may be ASCII


class Meaning(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SAVEPOINT = auto()
    PARTIAL_ROLLBACK = auto()
    XA = auto()
    HARMLESS = auto()
    ALTERED = auto()  # a captured table, and its columns may be others
    KEYS = auto()  # a captured table in other ways: keys, foreign keys, partitions, options
    GONE = auto()  # a captured table, or rows of it: dropped, truncated, renamed, replaced
    DATA = auto()  # rows that a statement changed, without row events
    UNKNOWN = auto()  # not understood, so nobody can say


@dataclass(frozen=True, slots=True)
class Statement:
    """``verb`` is the first word, in capitals. ``table`` is the captured table that was altered (ALTERED, KEYS), as
    ``captured`` spells it, and ``alteration`` what was done to it. ``why``: what of an UNKNOWN one is not understood.
    """

    meaning: Meaning
    verb: str = ""
    table: Name = ("", "")
    alteration: Alteration | None = None
    why: str = ""


def statement_text(data: bytes, charset: str) -> tuple[str, str]:
    """A statement in the character set of its session, and that. Bytes that are invalid in it become U+FFFD: they can
    only stand in strings, comments and names that no captured table has, but where a character may end in a quote or
    a backslash, nobody can say what they hide: ValueError.
    """
    if charset not in PYTHON_NAMES:
        return data.decode("utf-8", "replace"), charset
    try:
        return python_codec(charset).decode(data), charset
    except UnicodeError as error:
        if charset in _HIDES_QUOTES:
            raise ValueError(f"a statement that is not valid {charset}: {error}") from error
    return data.decode("utf-8", "replace"), charset


def read_statement(sql: str, schema: str, captured: Collection[Name], dialect: Dialect) -> Statement:
    """``schema`` is the session's default one.

    A statement that changes rows anywhere counts as one that changes captured rows: it may do so through a view, a
    trigger or a foreign key, and nothing in the binlog would say so. Only TRUNCATE cannot.
    """
    verb = ""
    try:
        reader = TokenReader(tokens(sql, dialect), schema, captured)
        reader.pass_prefixes()
        if reader.at_end():
            return Statement(Meaning.HARMLESS)
        verb = reader.word()
        judge = _VERBS.get(verb)
        if judge is None:
            raise NotUnderstood(f"{verb or 'it'} begins no statement that is known")
        reader.take()
        found = judge(reader)
    except NotUnderstood as error:
        return Statement(Meaning.UNKNOWN, verb, why=str(error))
    return found if isinstance(found, Statement) else Statement(found, verb)


_OTHER_OBJECTS = frozenset(
    """VIEW FUNCTION PROCEDURE TRIGGER EVENT USER ROLE SERVER PACKAGE TABLESPACE LOGFILE RESOURCE LIBRARY REFERENCE
    INSTANCE CATALOG""".split()  # noqa: SIM905
)

Judge = Callable[[TokenReader], Meaning | Statement]


def _create(reader: TokenReader) -> Meaning | Statement:
    replaces = reader.took("OR", "REPLACE")
    reader.pass_definition()
    kind = reader.take().text.upper()
    temporary = kind == "TEMPORARY"
    if temporary:
        kind = reader.take().text.upper()
    if kind in ("TABLE", "SEQUENCE"):
        return _create_table(reader, replaces=replaces and not temporary, sequence=kind == "SEQUENCE")
    if kind in ("DATABASE", "SCHEMA"):
        _pass_if_exists(reader)
        touched = replaces and reader.owns_captured(reader.name()[1])
        return Meaning.GONE if touched else Meaning.HARMLESS
    if kind == "INDEX":
        return _index(reader, dropped=False)
    return _other_object(kind)


def _create_table(reader: TokenReader, *, replaces: bool, sequence: bool) -> Meaning:
    """If its text continues with rows that it reads, its session does not log rows: nobody knows what a function in it
    changed.
    """
    _pass_if_exists(reader)
    name = reader.name()
    if replaces and reader.captured_one([name]):
        return Meaning.GONE
    if sequence:
        return Meaning.HARMLESS
    return Meaning.DATA if _reads_rows(reader.rest()) else Meaning.HARMLESS


def _reads_rows(words: Sequence[Token]) -> bool:
    outside, depth = [], 0
    for text, kind in words:
        if kind == "sign":
            depth += {"(": 1, ")": -1}.get(text, 0)
        elif kind == "word" and text.upper() == "SELECT":
            return True
        elif kind == "word" and depth == 0:
            outside.append(text.upper())
    if {"VALUES", "VALUE", "TABLE"} & set(outside):
        return True
    return any(word == "WITH" and outside[at + 1 : at + 2] != ["SYSTEM"] for at, word in enumerate(outside))


def _index(reader: TokenReader, *, dropped: bool) -> Meaning | Statement:
    """``CREATE|DROP INDEX name … ON table``."""
    _pass_if_exists(reader)
    index = reader.name()[1]
    while reader.rest() and reader.word() != "ON":
        reader.take()
    reader.take()
    table = reader.captured_one([reader.name()])
    if table is None:
        return Meaning.HARMLESS
    return Statement(Meaning.KEYS, "INDEX", table, Alteration(dropped_keys={index} if dropped else set()))


def _other_object(kind: str) -> Meaning:
    if kind not in _OTHER_OBJECTS:
        raise NotUnderstood(f"{kind[:40]!r} is not a kind of object that is known")
    return Meaning.HARMLESS


def _pass_if_exists(reader: TokenReader) -> None:
    if not reader.took("IF", "NOT", "EXISTS"):
        reader.took("IF", "EXISTS")


def _alter(reader: TokenReader) -> Meaning | Statement:
    ignore = False
    while reader.word() in ("ONLINE", "OFFLINE", "IGNORE"):
        ignore = reader.take().text.upper() == "IGNORE" or ignore
    reader.pass_definition()
    kind = reader.take().text.upper()
    if kind == "TABLE":
        return _alter_table(reader, ignore=ignore)
    if kind in ("DATABASE", "SCHEMA"):
        return Meaning.HARMLESS
    if kind == "SEQUENCE":
        _pass_if_exists(reader)
        return Meaning.GONE if reader.captured_one([reader.name()]) else Meaning.HARMLESS
    return _other_object(kind)


def _alter_table(reader: TokenReader, *, ignore: bool) -> Meaning | Statement:
    """It may be the table itself that is captured, or one that it is renamed to or exchanges rows with."""
    _pass_if_exists(reader)
    table = reader.captured_one([reader.name()])
    found = alteration(reader.rest(), ignore=ignore)
    if table is None:
        return _alter_of_another(reader, found)
    if found.ends:
        return Meaning.GONE
    return Statement(Meaning.ALTERED if found.columns else Meaning.KEYS, "ALTER", table, found)


_BEFORE_TABLES = frozenset({"TABLE", "TO", "AS", "RENAME"})


def _alter_of_another(reader: TokenReader, found: Alteration) -> Meaning:
    """Takes what follows one of a few words for a table. That is also found in RENAME COLUMN a TO b, where it does no
    harm unless the alteration ends a table.
    """
    names: list[Name] = []
    while reader.rest():
        if reader.take().text.upper() in _BEFORE_TABLES and reader.rest() and reader.rest()[0].kind in ("word", "name"):
            if reader.word() in _BEFORE_TABLES:
                continue
            names.append(reader.name())
    return Meaning.GONE if found.ends and reader.captured_one(names) else Meaning.HARMLESS


def _drop(reader: TokenReader) -> Meaning | Statement:
    temporary = reader.took("TEMPORARY")
    reader.pass_definition()
    kind = reader.take().text.upper()
    if kind in ("TABLE", "TABLES", "SEQUENCE"):
        _pass_if_exists(reader)
        names = reader.names()
        reader.ended("RESTRICT", "CASCADE")
        return Meaning.GONE if reader.captured_one(names) and not temporary else Meaning.HARMLESS
    if kind in ("DATABASE", "SCHEMA"):
        _pass_if_exists(reader)
        return Meaning.GONE if reader.owns_captured(reader.name()[1]) else Meaning.HARMLESS
    if kind == "INDEX":
        return _index(reader, dropped=True)
    return _other_object(kind)


def _rename(reader: TokenReader) -> Meaning:
    if reader.took("USER"):
        return Meaning.HARMLESS
    if not (reader.took("TABLE") or reader.took("TABLES")):
        raise NotUnderstood("it renames neither tables nor users")
    _pass_if_exists(reader)
    names = reader.names("TO")
    reader.ended()
    return Meaning.GONE if reader.captured_one(names) else Meaning.HARMLESS


def _truncate(reader: TokenReader) -> Meaning:
    reader.took("TABLE")
    name = reader.name()
    reader.pass_waiting()
    reader.ended()
    return Meaning.GONE if reader.captured_one([name]) else Meaning.HARMLESS


def _maintain(reader: TokenReader) -> Meaning:
    """``ANALYZE TABLE``; MariaDB's ``ANALYZE UPDATE …`` carries the statement out."""
    if reader.word() in ("NO_WRITE_TO_BINLOG", "LOCAL"):
        reader.take()
    return Meaning.HARMLESS if reader.word() in ("TABLE", "TABLES", "VIEW") else Meaning.DATA


def _begin(reader: TokenReader) -> Meaning:
    """Not MariaDB's block ``BEGIN NOT ATOMIC``."""
    reader.ended("WORK")
    return Meaning.BEGIN


def _start(reader: TokenReader) -> Meaning:
    if not reader.took("TRANSACTION"):
        raise NotUnderstood("it starts something else than a transaction")
    return Meaning.BEGIN


def _rollback(reader: TokenReader) -> Meaning:
    reader.took("WORK")
    return Meaning.PARTIAL_ROLLBACK if reader.took("TO") else Meaning.ROLLBACK


def _load(reader: TokenReader) -> Meaning:
    return Meaning.HARMLESS if reader.took("INDEX", "INTO", "CACHE") else Meaning.DATA


def _always(meaning: Meaning) -> Judge:
    return lambda reader: meaning


_VERBS: dict[str, Judge] = {
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _always(Meaning.COMMIT),
    "ROLLBACK": _rollback,
    "SAVEPOINT": _always(Meaning.SAVEPOINT),
    "RELEASE": _always(Meaning.SAVEPOINT),
    "XA": _always(Meaning.XA),
    "CREATE": _create,
    "ALTER": _alter,
    "DROP": _drop,
    "RENAME": _rename,
    "TRUNCATE": _truncate,
    "LOAD": _load,
    **dict.fromkeys(("ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM"), _maintain),
    **dict.fromkeys(("SET", "FLUSH", "GRANT", "REVOKE", "INSTALL", "UNINSTALL", "USE"), _always(Meaning.HARMLESS)),
    **dict.fromkeys(
        ("INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "SELECT", "VALUES", "TABLE", "CALL", "DO", "HANDLER", "("),
        _always(Meaning.DATA),
    ),
}
