"""The application's statements, from the server's digests, from its logs, or from a .sql file.

Each comes out without its values: these are nobody's business, and what is left is the same for each call of a program.
Formats: "The Slow Query Log", "The General Query Log" and "Statement Digests" in the manuals of MySQL and MariaDB.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from whimbrel.checks.ask import TimedQueries
from whimbrel.errors import ProjectError

PERFORMANCE_SCHEMA = "performance_schema"
MAX_TEXT = 64 * 1024  # of one statement; what is longer is cut, and then listed as not readable


class SeenStatement(NamedTuple):
    """A statement without its values, and the database that it was said in ("": not known)."""

    text: str
    database: str


_TOKEN = re.compile(
    r"""(?P<space>\s+|/\*(?!\s*,\ \.\.\.).*?\*/|--(?:[ \t][^\n]*)?(?=\n|$)|\#[^\n]*)
      | (?P<string>(?:_[a-z0-9]+\s*|\b[xXbBnN])?'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*")
      | (?P<name>`(?:[^`]|``)*`)
      | (?P<number>(?<![\w$@])(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w$]))
      | (?P<value>%s\b|%\(\w+\)s|(?<![\w:]):[A-Za-z_]\w*|\$\d+)
      | (?P<word>@{0,2}[\w$]+)
      | (?P<end>;)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_TIMES = re.compile(r"--\s+times:?\s+([0-9][0-9_]{0,15})\s*$")
_LIST = re.compile(r"\( ?\?(?: ?, ?\?)+ ?\)")
_ROWS = re.compile(r"(\((?:\?|\.\.\.)\))(?: ?, ?\((?:\?|\.\.\.)\))+")
_LOG_COMMANDS = "Query|Execute|Prepare|Init DB|Connect|Quit|Close stmt|Reset stmt|Field List|Statistics|Ping"
_GENERAL = re.compile(
    rf"^(?:\d{{4}}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)|\d{{6}}\s+\d{{1,2}}:\d\d:\d\d)?\s*(\d+)\s({_LOG_COMMANDS})(?:\s(.*))?$",
    re.DOTALL,
)
_SERVER_START = re.compile(r"^\S*(?:mysqld|mariadbd?)\S*, Version: |^Tcp port: |^Time\s+Id Command\s+Argument")


def from_file(path: Path, database: str) -> Counter[SeenStatement]:
    """Of a slow log, a general log or a file of statements, whichever it is. Raises ProjectError."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = "".join(line for line, _ in zip(file, range(50), strict=False))
            file.seek(0)
            return _counted(head, file, database)
    except OSError as error:
        raise ProjectError(
            f"cannot be read: {error.strerror}",
            place=str(path),
            hint=f"Name a slow log, a general log, a file of statements, or {PERFORMANCE_SCHEMA}.",
        ) from None


def _counted(head: str, lines: Iterable[str], database: str) -> Counter[SeenStatement]:
    if re.search(r"^# Query_time: ", head, re.MULTILINE):
        return Counter(of_slow_log(lines, database))
    if any(_GENERAL.match(line) for line in head.splitlines()):
        return Counter(of_general_log(lines, database))
    return counted_sql("".join(lines), database)


def counted_sql(text: str, database: str) -> Counter[SeenStatement]:
    """The statements of ``text``. One after a comment ``-- times: 1200`` counts as often as that says."""
    found: Counter[SeenStatement] = Counter()
    for statement, times in _statements(text):
        if name := _used(statement):
            database = name
        else:
            found[SeenStatement(statement, database)] += times
    return found


def of_slow_log(lines: Iterable[str], database: str) -> Iterator[SeenStatement]:
    """A ``use`` stands for all that comes after it."""
    kept: list[str] = []
    for line in (*lines, "# end"):
        if not line.startswith("#"):
            if not _SERVER_START.match(line):
                kept.append(line)
            continue
        for said in of_sql("".join(kept), database):
            database = said.database
            if not re.match(r"(?i)set timestamp ?=", said.text):
                yield said
        database = _used("".join(kept)) or database
        kept = []


def of_general_log(lines: Iterable[str], database: str) -> Iterator[SeenStatement]:
    """Each connection has its own database. A Prepare is not an execution, and an Execute repeats its text."""
    used: dict[str, str] = {}
    entry: tuple[str, str, list[str]] | None = None
    for line in (*lines, "0 Quit"):
        begun = _GENERAL.match(line.rstrip("\r\n"))
        if not begun:
            if entry and not _SERVER_START.match(line):
                entry[2].append(line)
            continue
        if entry:
            yield from _logged(*entry, used, database)
        entry = (begun[1], begun[2], [begun[3] or "", "\n"])


def _logged(
    connection: str, command: str, lines: list[str], used: dict[str, str], database: str
) -> Iterator[SeenStatement]:
    text = "".join(lines).strip()
    if command == "Init DB":
        used[connection] = text
    elif command == "Connect":
        found = re.search(r"\son\s(\S+)(?:\susing\s|$)", text)
        used[connection] = found[1] if found and found[1] != "using" else database
    elif command in ("Query", "Execute"):
        yield from of_sql(text, used.get(connection, database))
        used[connection] = _used(text) or used.get(connection, database)


def _used(text: str) -> str:
    found = re.match(r"\s*use\s+`?([^`;\s]+)`?\s*;?", text, re.IGNORECASE)
    return found[1] if found else ""


def of_sql(text: str, database: str) -> Iterator[SeenStatement]:
    """The statements of ``text``, each without its values; USE chooses the database of those after it."""
    for statement in without_values(text):
        if name := _used(statement):
            database = name
        else:
            yield SeenStatement(statement, database)


def without_values(text: str) -> Iterator[str]:
    """A pattern of LIKE keeps where its wildcards are; of a LIMIT alone its number; a list is one value."""
    return (statement for statement, _ in _statements(text))


def _statements(text: str) -> Iterator[tuple[str, int]]:
    """Each without its values, and how often it counts."""
    words: list[str] = []
    times = 1
    for found in _TOKEN.finditer(text):
        kind, token = found.lastgroup, found[0]
        if kind == "end":
            yield from ((each, times) for each in _whole(words))
            words, times = [], 1
        elif kind == "space":
            said = _TIMES.match(token)
            times = int(said[1]) if said else times
            words.append(" ")
        elif kind == "string":
            words.append(_pattern(token) if _last(words) == "LIKE" else "?")
        elif kind == "number":
            words.append(token if _last(words) == "LIMIT" and len(token) < 7 else "?")
        else:
            words.append("?" if kind == "value" else token)
    yield from ((each, times) for each in _whole(words))


def _last(words: list[str]) -> str:
    return next((word.upper() for word in reversed(words) if word != " "), "")


def _pattern(token: str) -> str:
    inside = re.sub(r"\\.", "", token[token.index(token[-1]) + 1 : -1])
    start = "%" if inside[:1] in ("%", "_") else "x"
    wild = re.search("[%_]", inside)
    return f"'{start}%'" if wild else "'x'"


def _whole(words: list[str]) -> Iterator[str]:
    text = re.sub(r"\s+", " ", "".join(words)).strip()
    # a number of LIMIT that is an offset is not worth keeping apart
    text = re.sub(r"(?i)\bLIMIT \d+ ?, ?\S+", "LIMIT ?, ?", text)
    text = re.sub(r"(?i)(\bIN ?)\( ?\?(?: ?, ?\?)* ?\)", r"\1(...)", text)
    text = _ROWS.sub(r"\1 /* , ... */", _LIST.sub("(...)", text))
    if text:
        yield text[:MAX_TEXT]


def from_digests(queries: TimedQueries) -> Counter[SeenStatement]:
    """Raises what ``TimedQueries`` does; empty if the server gathers none."""
    rows = queries.rows(
        "SELECT COALESCE(SCHEMA_NAME, ''), DIGEST_TEXT, SUM(COUNT_STAR) "
        "FROM performance_schema.events_statements_summary_by_digest GROUP BY 1, 2",
        PERFORMANCE_SCHEMA,
    )
    found: Counter[SeenStatement] = Counter()
    for database, text, count in rows:
        # Digests that no longer have a place are counted together, without a text.
        found[SeenStatement(_text(text) or "(digests that the server had no more room for)", _text(database))] += int(
            count
        )
    return Counter({said: count for said, count in found.items() if not _of_check(said.text)})


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _of_check(text: str) -> bool:
    """What earlier runs of check asked, as ``TimedQueries`` and ``Scope`` write it; and this question."""
    return "events_statements_summary_by_digest" in text or (
        bool(re.search("MAX_EXECUTION_TIME|SET STATEMENT `?max_statement_time", text)) and "WHERE TRUE" in text
    )
