"""What an ALTER TABLE in the binlog does to the columns and rows of its table, as far as its text must say it.

What the columns are afterwards is never worked out from the text. But a column that is dropped and added again, or two
that exchange their names, look like before in every description of the table and hold other values: only the text
tells. And most alterations touch no column at all, which is safe to tell from a list of those that are known not to.

Sources: the grammar of ALTER TABLE in the manuals of MySQL 9 and MariaDB 11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""`(?P<tick>(?:[^`]|``)+)` | "(?P<quote>(?:[^"]|"")+)" | (?P<text>'(?:[^'\\]|''|\\.)*')
        | (?P<skip>\s+|/\*(?!M?!).*?\*/|--[ \t][^\n]*\n?|\#[^\n]*\n?|/\*M?!\d*|\*/) | (?P<word>[\w$]+) | (?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
Word = tuple[str, bool]  # its text, and whether it stands without quotes

_OPTIONS = frozenset(
    """COMMENT AUTO_INCREMENT ALGORITHM LOCK FORCE ROW_FORMAT KEY_BLOCK_SIZE STATS_PERSISTENT STATS_AUTO_RECALC
    STATS_SAMPLE_PAGES ENABLE DISABLE DEFAULT CHARACTER CHARSET COLLATE CHECKSUM TABLE_CHECKSUM PAGE_CHECKSUM
    DELAY_KEY_WRITE MAX_ROWS MIN_ROWS AVG_ROW_LENGTH PACK_KEYS COMPRESSION ENCRYPTION PAGE_COMPRESSED
    PAGE_COMPRESSION_LEVEL TRANSACTIONAL ORDER WITH WITHOUT TABLESPACE PARTITION ENGINE NOWAIT WAIT""".split()  # noqa: SIM905
)
_INDEXES = frozenset({"INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "CONSTRAINT", "FOREIGN", "CHECK"})
_SAFE_SECOND = {
    "ADD": _INDEXES | {"PARTITION"},
    "DROP": frozenset({"INDEX", "KEY", "CONSTRAINT", "FOREIGN", "CHECK"}),
    "RENAME": frozenset({"INDEX", "KEY"}),
    "REMOVE": frozenset({"PARTITIONING"}),
    **dict.fromkeys(("ANALYZE", "CHECK", "OPTIMIZE", "REBUILD", "REPAIR"), frozenset({"PARTITION"})),
    **dict.fromkeys(("REORGANIZE", "COALESCE"), frozenset({"PARTITION"})),
}
_ROWS_LOST = frozenset({"DROP", "TRUNCATE", "EXCHANGE", "CONVERT", "IMPORT", "DISCARD"})


@dataclass(slots=True)
class Alteration:
    """``ends``: rows or the table itself go without row events. ``columns``: they may be others afterwards.

    ``replaced``: names that stood, or now stand, for other values than before, if there is such a column still;
    ``modified``: columns whose definition was given anew.
    """

    ends: bool = False
    columns: bool = False
    replaced: set[str] = field(default_factory=set)
    modified: set[str] = field(default_factory=set)


def words_of(sql: str) -> list[Word]:
    """Words, names and signs; no blanks, comments or quoted text."""
    return [read(found) for found in TOKEN.finditer(sql) if found.lastgroup not in ("skip", "text")]


def read(token: re.Match[str]) -> Word:
    if token["tick"] is not None:
        return token["tick"].replace("``", "`"), False
    if token["quote"] is not None:
        return token["quote"].replace('""', '"'), False
    return token[0], True


def alteration(sql: str) -> Alteration:
    """Of the statement ``ALTER TABLE …``."""
    found = Alteration()
    for clause in _clauses(words_of(sql)):
        _judge(clause, found)
    return found


def _clauses(words: list[Word]) -> list[list[Word]]:
    """What stands after the table's name, cut at the commas outside of brackets."""
    start = next((i for i, (text, plain) in enumerate(words) if plain and text.upper() == "TABLE"), len(words)) + 1
    while start < len(words) and words[start][1] and words[start][0].upper() in ("IF", "EXISTS"):
        start += 1
    start += 3 if words[start + 1 : start + 2] == [(".", True)] else 1
    clauses: list[list[Word]] = [[]]
    depth = 0
    for word in words[start:]:
        if word == (",", True) and depth == 0:
            clauses.append([])
            continue
        depth += {("(", True): 1, (")", True): -1}.get(word, 0)
        clauses[-1].append(word)
    return clauses


def _judge(clause: list[Word], found: Alteration) -> None:
    first, second, third = (_upper(clause, i) for i in range(3))
    if first == "WAIT" and second.isdigit():  # MariaDB: ALTER TABLE t WAIT 10 ADD …
        return _judge(clause[2:], found)
    if first == "NOWAIT":
        return _judge(clause[1:], found)
    if not first or _is_harmless(clause, first, second, third):
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
    return first == "ENGINE" or (first in _ROWS_LOST and second in ("PARTITION", "TABLESPACE", "TABLE"))


def _is_harmless(clause: Sequence[Word], first: str, second: str, third: str) -> bool:
    if first == "ENGINE":
        return "INNODB" in (second, third)
    if first in _OPTIONS:
        return True
    if first == "ALTER":  # a default, or whether an index or a column is seen
        return not ({"TYPE"} & {second, third})
    if first == "ADD" and "PRIMARY" in (text.upper() for text, plain in clause if plain):
        return False
    return second in _SAFE_SECOND.get(first, ())


def _note_names(clause: list[Word], first: str, second: str, found: Alteration) -> None:
    names = _without(clause[1:], ("COLUMN", "IF", "EXISTS", "NOT"))
    if first == "DROP" and second not in ("PRIMARY", "SYSTEM", "PERIOD"):
        found.replaced |= set(names[:1])
    elif first == "RENAME":
        found.replaced |= {names[0], *names[2:3]}
    elif first == "CHANGE":
        found.modified |= set(names[1:2])
        if len(names) > 1 and names[0].lower() != names[1].lower():
            found.replaced |= set(names[:2])
    elif first == "MODIFY":
        found.modified |= set(names[:1])


def _without(words: list[Word], leading: Sequence[str]) -> list[str]:
    while words and words[0][1] and words[0][0].upper() in leading:
        words = words[1:]
    return [text for text, _ in words]


def _upper(clause: Sequence[Word], at: int) -> str:
    """The word there if it is a plain one, in capitals; a quoted name is never a keyword."""
    signs_left_out = [word for word in clause if word != ("=", True)]
    if at >= len(signs_left_out):
        return ""
    text, plain = signs_left_out[at]
    return text.upper() if plain else "`"
