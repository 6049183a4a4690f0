"""What an ALTER TABLE in the binlog does to the columns, keys and rows of its table, as far as its text must say it.

What the columns are afterwards is never worked out from the text. But a column that is dropped and added again, or two
that exchange their names, look like before in every description of the table and hold other values: only the text
tells. And most alterations touch no column at all, which is safe to tell from a list of those that are known not to.

Sources: the grammar of ALTER TABLE in the manuals of MySQL 9 and MariaDB 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from whimbrel.mysql.binlog.lexer import Token
from whimbrel.records import Position, Table

_OPTIONS = frozenset(
    """COMMENT AUTO_INCREMENT ALGORITHM LOCK FORCE ROW_FORMAT KEY_BLOCK_SIZE STATS_PERSISTENT STATS_AUTO_RECALC
    STATS_SAMPLE_PAGES ENABLE DISABLE DEFAULT CHARACTER CHARSET COLLATE CHECKSUM TABLE_CHECKSUM PAGE_CHECKSUM
    DELAY_KEY_WRITE MAX_ROWS MIN_ROWS AVG_ROW_LENGTH PACK_KEYS COMPRESSION ENCRYPTION PAGE_COMPRESSED
    PAGE_COMPRESSION_LEVEL TRANSACTIONAL ORDER WITH WITHOUT TABLESPACE PARTITION ENGINE NOWAIT WAIT""".split()  # noqa: SIM905
)
_INDEXES = frozenset({"INDEX", "KEY", "FULLTEXT", "SPATIAL", "VECTOR", "UNIQUE", "CONSTRAINT", "FOREIGN", "CHECK"})
_SAFE_SECOND = {
    "ADD": _INDEXES | {"PARTITION"},
    "DROP": frozenset({"INDEX", "KEY", "CONSTRAINT", "FOREIGN", "CHECK"}),
    "RENAME": frozenset({"INDEX", "KEY"}),
    "REMOVE": frozenset({"PARTITIONING"}),
    **dict.fromkeys(("ANALYZE", "CHECK", "OPTIMIZE", "REBUILD", "REPAIR"), frozenset({"PARTITION"})),
    **dict.fromkeys(("REORGANIZE", "COALESCE"), frozenset({"PARTITION"})),
}
_ROWS_LOST = frozenset({"DROP", "TRUNCATE", "EXCHANGE", "CONVERT", "IMPORT", "DISCARD"})
_EQUALS, _COMMA = Token("=", "sign"), Token(",", "sign")
_DEPTH = {Token("(", "sign"): 1, Token(")", "sign"): -1}


@dataclass(slots=True)
class Alteration:
    """``ends``: rows or the table itself go without row events. ``columns``: they may be others afterwards.

    ``replaced``: names that stood, or now stand, for other values than before, if there is such a column still;
    ``modified``: columns whose definition was given again. ``dropped_keys``: names of indexes and constraints that it
    drops, ``PRIMARY`` for the primary key; ``added_keys``: the columns of primary and unique keys that it adds.
    ``cascades``: the actions of foreign keys that it adds and by which the
    server changes rows by itself, e.g. ``ON DELETE CASCADE``.
    """

    ends: bool = False
    columns: bool = False
    replaced: set[str] = field(default_factory=set)
    modified: set[str] = field(default_factory=set)
    dropped_keys: set[str] = field(default_factory=set)
    added_keys: set[tuple[str, ...]] = field(default_factory=set)
    cascades: list[str] = field(default_factory=list)


def alteration(after_name: Sequence[Token], *, ignore: bool = False) -> Alteration:
    """Of the tokens of an ALTER TABLE that follow the table's name; ``ignore``: of ALTER IGNORE TABLE.

    With IGNORE, rows that no longer fit a unique key vanish, and values that no longer fit a column change.
    """
    found = Alteration(ends=ignore)
    for clause in _clauses(after_name):
        _judge(clause, found)
    return found


def _clauses(words: Sequence[Token]) -> list[list[Token]]:
    """Cut at the commas outside of brackets."""
    clauses: list[list[Token]] = [[]]
    depth = 0
    for word in words:
        if word == _COMMA and depth == 0:
            clauses.append([])
            continue
        depth += _DEPTH.get(word, 0)
        clauses[-1].append(word)
    return clauses


def _judge(clause: list[Token], found: Alteration) -> None:
    first, second = (_upper(clause, i) for i in range(2))
    if first == "WAIT" and second.isdigit():  # MariaDB: ALTER TABLE t WAIT 10 ADD …
        return _judge(clause[2:], found)
    if first == "NOWAIT":
        return _judge(clause[1:], found)
    _note_keys(clause, found)
    if not first or _is_harmless(clause, first, second):
        return None
    found.columns = True
    if _loses_rows(first, second):
        found.ends = True
    else:
        _note_names(clause, first, second, found)
    return None


def _loses_rows(first: str, second: str) -> bool:
    """Rows, or the table under its name. Not every engine keeps the rows that it is given."""
    if first == "RENAME":
        return second != "COLUMN"
    return first in _OPTIONS or (first in _ROWS_LOST and second in ("PARTITION", "TABLESPACE", "TABLE"))


def _is_harmless(clause: Sequence[Token], first: str, second: str) -> bool:
    if first in _OPTIONS:
        return _keeps_engine(clause)
    if first == "ALTER":  # a default, or whether an index or a column is seen
        return not any(word.kind == "word" and word.text.upper() == "TYPE" for word in clause)
    if first == "ADD" and "PRIMARY" in (word.text.upper() for word in clause if word.kind == "word"):
        return False
    return second in _SAFE_SECOND.get(first, ())


def _keeps_engine(options: Sequence[Token]) -> bool:
    """Options need no comma between them, so ENGINE may stand anywhere among them; its value may be a string."""
    words = [word for word in options if word != _EQUALS]
    depth = 0
    for at, word in enumerate(words):
        depth += _DEPTH.get(word, 0)
        if depth == 0 and word.kind == "word" and word.text.upper() == "ENGINE":
            value = words[at + 1].text.upper() if at + 1 < len(words) else ""
            if value != "INNODB":
                return False
    return True


def _note_names(clause: list[Token], first: str, second: str, found: Alteration) -> None:
    names = _without(clause[1:], ("COLUMN", "IF", "EXISTS"))
    if first == "DROP" and second not in ("PRIMARY", "SYSTEM", "PERIOD"):
        found.replaced |= set(names[:1])
    elif first == "RENAME":
        found.replaced |= {*names[:1], *names[2:3]}
    elif first == "CHANGE":
        found.modified |= set(names[1:2])
        if len(names) > 1 and names[0].lower() != names[1].lower():
            found.replaced |= set(names[:2])
    elif first == "MODIFY":
        found.modified |= set(names[:1])


def _note_keys(clause: list[Token], found: Alteration) -> None:
    if _upper(clause, 0) == "DROP":
        kind = _upper(clause, 1)
        names = _without(clause[2:], ("KEY", "IF", "EXISTS"))
        if kind == "PRIMARY":
            found.dropped_keys.add("PRIMARY")
        elif kind in ("INDEX", "KEY", "CONSTRAINT", "FOREIGN"):
            found.dropped_keys |= set(names[:1])
    plain = [word.text.upper() if word.kind == "word" else "" for word in clause]
    if plain[:1] == ["ADD"] and {"PRIMARY", "UNIQUE"} & set(plain):
        found.added_keys.add(_key_columns(clause, plain))
    if "REFERENCES" not in plain:
        return
    for at in range(plain.index("REFERENCES"), len(plain) - 2):
        if plain[at] == "ON" and plain[at + 1] in ("DELETE", "UPDATE"):
            action = plain[at + 2] if plain[at + 2] != "SET" else " ".join(plain[at + 2 : at + 4])
            if action in ("CASCADE", "SET NULL", "SET DEFAULT"):
                found.cascades.append(f"ON {plain[at + 1]} {action}")


def _key_columns(clause: Sequence[Token], plain: Sequence[str]) -> tuple[str, ...]:
    """Of ``ADD … UNIQUE KEY u (a, b)`` and ``ADD COLUMN a INT PRIMARY KEY``; () where a column is not there whole."""
    kind = next(word for word in plain if word in ("PRIMARY", "UNIQUE"))
    begin = next((at for at in range(plain.index(kind), len(clause)) if clause[at] == Token("(", "sign")), None)
    if begin is None:
        return tuple(_without(clause[1:], ("COLUMN", "IF", "NOT", "EXISTS"))[:1])
    columns: list[str] = []
    depth = 0
    for word in clause[begin:]:
        depth += _DEPTH.get(word, 0)
        if depth == 0:
            break
        if depth > 1 and kind == "UNIQUE":  # a prefix, or an expression
            return ()
        if depth == 1 and word.kind != "sign" and (word.kind == "name" or word.text.upper() not in ("ASC", "DESC")):
            columns.append(word.text)
    return tuple(columns)


def _without(words: Sequence[Token], leading: Sequence[str]) -> list[str]:
    while words and words[0].kind == "word" and words[0].text.upper() in leading:
        words = words[1:]
    return [word.text for word in words]


def _upper(clause: Sequence[Token], at: int) -> str:
    """The word there if it is a plain one, in capitals; a quoted name is never a keyword."""
    signs_left_out = [word for word in clause if word != _EQUALS]
    if at >= len(signs_left_out):
        return ""
    text, kind = signs_left_out[at]
    return text.upper() if kind in ("word", "sign") else "`"


# A captured table by its names, where the statement that altered it ends, that statement and what it does → the table
# from there on.
Redefine = Callable[[tuple[str, str], Position, str, Alteration], Table]
# The same: raises if what was proved of the table (its keys, no cascades) holds no longer after the statement.
Reprove = Callable[[tuple[str, str], Position, str, Alteration], None]
