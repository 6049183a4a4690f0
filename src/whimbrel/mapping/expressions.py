"""Expressions over a row's columns, in SQLite's dialect (the one that AWS DMS has), carried out by SQLite in memory.

How a column's canonical value (see ``whimbrel.records``) enters, and leaves, an expression:

- int, bit and year as INTEGER, also a decimal in ``CAST(… AS INTEGER)``; one beyond 64 bits signed makes the row a
  Fault, as SQLite would round it;
- float and double as REAL; text, enum, set, JSON, dates, times, uuid and inet as TEXT; binary and geometry as BLOB;
- decimal as TEXT, and only within ``CAST(… AS TEXT | REAL | INTEGER)``, as an argument of a ``decimal_`` function, or
  handed on as it is (``price``, ``coalesce(price, '0')``, ``CASE … THEN price``): SQLite would otherwise turn it into a
  REAL in arithmetic, and order it after all numbers in a comparison, silently;
- a text with a NUL character makes the row a Fault, as SQLite's functions end there;
- a REAL result of 2^53 or more, of no float column, makes the row a Fault: that is how integers overflow in SQLite.

Text compares by its bytes, ``lower`` and ``upper`` know ASCII only, and ``7 / 2`` is 3: SQLite's dialect as it is.
Any error of SQLite's makes the row a Fault. A filter keeps the rows for which it is true (not 0 and not NULL).
"""

from __future__ import annotations

import difflib
import re
import sqlite3
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from whimbrel.mapping.forms import Refused, computed_text, shown
from whimbrel.mapping.functions import ALLOWED, OF_CHANGE, OWN, REFUSED, TAKES_DECIMALS, install
from whimbrel.mapping.results import possible_texts
from whimbrel.records import Column, Provenance, Row, Table, Value

FILTER = ""  # no column can have this name
MAX_EXACT = 2.0**53
# Before a migration begins, the start of 1970 stands for its start: in a preview, and for sizes.
UNKNOWN = Provenance("INSERT", "binlog.000001:4", f"{1970010100000000}{0:019}", "1970-01-01T00:00:00.000000Z")

_TOKEN = re.compile(
    r"""\s+ | (?P<comment>--|/\*) | (?P<text>[xX]?'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    | (?P<number>[0-9][0-9A-Za-z_.]*|\.[0-9]+\w*) | (?P<name>[^\W\d]\w*) | (?P<arrow>->>?) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


_CALLABLE = ALLOWED.union(OWN, OF_CHANGE)


class Token:
    __slots__ = ("kind", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text


def tokens_of(text: str) -> list[Token]:
    return [Token(match.lastgroup, match[0]) for match in _TOKEN.finditer(text) if match.lastgroup]


class Expressions:
    """The expressions of one table. ``evaluate`` is safe in threads: each has a SQLite of its own.

    ``provenance_columns``: those with change metadata. ``handed_on``: those whose result may be a decimal column as it
    stands, and which; ``copies`` are nothing but that. ``results``: the texts of those that can only have a few;
    of ``constants``, which use no column, the only one.
    """

    def __init__(self, table: Table, expressions: Mapping[str, str], condition: str, faults: list[str]) -> None:
        """What is wrong with them goes to ``faults``; then the object is not to be used."""
        self._table = table
        self._all = {**expressions, **({FILTER: condition} if condition else {})}
        self._names = list(expressions)
        self._filtered = bool(condition)
        self._local = threading.local()
        self._folded = {name.lower(): name for name in table.names}
        self.provenance_columns: set[str] = set()
        self.handed_on: dict[str, str] = {}
        self.copies: set[str] = set()
        self.results: dict[str, tuple[str, ...]] = {}
        self.constants: dict[str, str] = {}
        self._whole: dict[str, int] = {}  # decimals that are cast to INTEGER, and where they stand in a row
        noted = len(faults)
        self.uses = {name: self._check(name, text, faults) for name, text in self._all.items()}
        used = list(dict.fromkeys(column for columns in self.uses.values() for column in columns))
        self._used = [(table.index(name), table.column(name)) for name in used]
        self._exact = [
            not any(table.column(name).kind in ("float", "double") for name in self.uses[each]) for each in self._all
        ]
        if len(faults) == noted:
            for name, text in self._all.items():
                self._try(name, text, faults)
        results = [expressions[name] for name in self._names]
        if condition:  # as SQLite sees truth: a text that is not a number is false
            results.append(f"CASE WHEN ({condition}) THEN 1 ELSE 0 END")
        self._statement = self._select(results)

    def evaluate(self, row: Row, provenance: Provenance = UNKNOWN) -> dict[str, Value] | None:
        """The computed columns of ``row``; None if the filter leaves it out. Raises Refused."""
        bound = tuple([_enters(column, row[index]) for index, column in self._used])
        for column, index in self._whole.items():
            _fits(column, row[index])
        sqlite = self._sqlite()
        if self.provenance_columns:
            sqlite.came[0] = provenance
        try:
            results = sqlite.connection.execute(self._statement, bound).fetchone()
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise Refused(self._blame(bound, error, sqlite)) from None
        if self._filtered and not results[-1]:
            return None
        return {
            name: result if not isinstance(result, float) else _leaves(name, result, exact)
            for name, result, exact in zip(self._names, results, self._exact, strict=False)
        }

    # -- checks, before any row --------------------------------------------------------------------------------------

    def _check(self, name: str, text: str, faults: list[str]) -> tuple[str, ...]:
        """The source columns that an expression uses."""
        place = _place(name)
        tokens = tokens_of(text)
        used: dict[str, None] = {}
        if not tokens:
            faults.append(f"{place} is empty")
        if _unbalanced(tokens):
            faults.append(f"{place} is not one expression: {text!r}")
        elif texts := possible_texts(tokens):
            self.results[name] = texts
        for number, token in enumerate(tokens):
            following = tokens[number + 1].text if number + 1 < len(tokens) else ""
            column = self._column(token, following)
            if column:
                used[column] = None
                if _cast_to(tokens, number) == "integer" and self._table.column(column).kind == "decimal":
                    self._whole[column] = self._table.index(column)
                if self._table.column(column).kind != "decimal":
                    continue
                stands = _decimal_stands(tokens, number)
                if stands == "result" and name != FILTER:
                    self.handed_on[name] = column
                    if all(each is token or each.text in "()" for each in tokens):
                        self.copies.add(name)
                elif stands != "exactly":
                    faults.append(
                        f"{place} uses {column!r}, a DECIMAL, which SQLite would round: write CAST({column} AS REAL), "
                        f"AS INTEGER or AS TEXT, or use decimal_add, decimal_sub, decimal_mul or decimal_cmp"
                    )
            elif token.kind == "name" and following == "(" and token.text.lower() in OF_CHANGE:
                self.provenance_columns.add(name)
                if name == FILTER:
                    faults.append(
                        f"{place} uses {token.text}: whether a row is moved cannot depend on how it changed last"
                    )
            elif fault := self._fault(token, following):
                faults.append(f"{place} {fault}")
        return tuple(used)

    def _column(self, token: Token, following: str) -> str:
        if token.kind == "name" and following != "(":
            return self._folded.get(token.text.lower(), "")
        if token.kind == "quoted":
            return self._folded.get(_unquoted(token.text).lower(), "")
        return ""

    def _fault(self, token: Token, following: str) -> str:
        lower = token.text.lower()
        if token.kind == "comment":
            return "has a comment: take it out"
        if token.kind == "quoted":  # SQLite would silently take it for a text
            unknown = f"names column {_unquoted(token.text)!r}, which {self._table.full_name} does not have"
            return unknown + self._nearest(token)
        if token.kind == "other" and token.text in "?:@$;":
            return f"has {token.text!r}: write a column's name as it stands"
        if token.kind == "name" and lower == "select":
            return "has a SELECT: an expression sees its own row only"
        if token.kind == "name" and (following == "(" or lower.startswith("current_")) and lower in REFUSED:
            return f"uses {lower}, which {REFUSED[lower]}"
        return ""

    def _nearest(self, token: Token) -> str:
        near = difflib.get_close_matches(_unquoted(token.text).lower(), self._folded, n=1, cutoff=0.0)
        return f"; the nearest is {self._folded[near[0]]!r}; string literals have single quotes" if near else ""

    def _try(self, name: str, text: str, faults: list[str]) -> None:
        sqlite = self._sqlite()
        try:
            cursor = sqlite.connection.execute(self._select([text]), (None,) * len(self._used))
            first, *more = cursor.fetchone()
            if more:
                faults.append(f"{_place(name)} is not one expression: {text!r}")
            elif isinstance(first, str | int) and not self.uses[name] and name not in self.provenance_columns:
                self.constants[name] = computed_text(first)
                self.results[name] = (self.constants[name],)
        except (sqlite3.Error, UnicodeError) as error:
            faults.append(f"{_place(name)} is not an expression that can be used: {_reason(error, sqlite.why)}")

    # -- SQLite --------------------------------------------------------------------------------------------------------

    def _select(self, texts: Any) -> str:
        columns = ", ".join(
            f'?{n} AS "{column.name.replace(chr(34), chr(34) * 2)}"' for n, (_, column) in enumerate(self._used, 1)
        )
        return f"SELECT {', '.join(f'({text})' for text in texts)} FROM (SELECT {columns or 'NULL'})"

    def _sqlite(self) -> _Sqlite:
        try:
            return self._local.sqlite  # type: ignore[no-any-return]
        except AttributeError:
            made = self._local.sqlite = _Sqlite()
            return made

    def _blame(self, bound: tuple[Any, ...], error: Exception, sqlite: _Sqlite) -> str:
        """Which of the expressions it was."""
        reason = _reason(error, sqlite.why)
        for name, text in self._all.items():
            try:
                sqlite.connection.execute(self._select([text]), bound).fetchone()
            except (sqlite3.Error, OverflowError, UnicodeError):
                return f"{_place(name)}: {reason}"
            finally:
                sqlite.why.clear()
        return reason


class _Sqlite:
    """That of one thread, closed when nobody has it any more. The garbage collector does not see what the functions of
    a connection have: if they led back to the connection, or to whoever has it, it would stay to the end.
    """

    __slots__ = ("came", "connection", "times", "why")

    def __init__(self) -> None:
        self.why: list[str] = []  # a function failed
        self.came = [UNKNOWN]  # how the row came that is being evaluated
        self.times = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024)
        install(self.connection, self.times, self.why, self.came)
        self.connection.set_authorizer(_may)

    def __del__(self) -> None:
        self.connection.close()
        self.times.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a mapping is compiled where it is used")


def _enters(column: Column, value: Value) -> Value:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Refused(f"column {column.name!r} is {value}, beyond the 64 bits of an integer in an expression")
    if isinstance(value, str) and "\0" in value:
        raise Refused(f"column {column.name!r} has a NUL character, where a text in an expression would end")
    return value


def _fits(column: str, value: Value) -> None:
    """SQLite would take a greater one for the greatest."""
    if isinstance(value, str) and not -(2**63) <= int(Decimal(value)) < 2**63:
        raise Refused(f"column {column!r} is {value}, beyond the 64 bits of an integer in an expression")


def _leaves(name: str, result: float, exact: bool) -> float:
    if exact and abs(result) >= MAX_EXACT:
        raise Refused(f"{_place(name)} is {shown(result)}: beyond 2^53 SQLite rounds; use decimal_add, _sub or _mul")
    return result


def _may(action: int, one: str | None, other: str | None, _database: str | None, _trigger: str | None) -> int:
    """SQLite's authorizer: select, from no table, with the functions that may be used."""
    if action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and not (one or "").startswith("sqlite_")):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and other in _CALLABLE:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _reason(error: Exception, why: list[str]) -> str:
    return why[-1] if why else str(error)


def _place(name: str) -> str:
    return "filter" if name == FILTER else f"the expression of {name!r}"


def _unbalanced(tokens: list[Token]) -> bool:
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth < 0:
            return True
    return depth > 0


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[-1] * 2, text[-1])


def _cast_to(tokens: list[Token], number: int) -> str:
    """The type for which the token stands in CAST(… AS …), "" if it does not."""
    words = [token.text.lower() for token in tokens[max(0, number - 2) : number + 4]]
    form = [*words[:2], *words[3:4], *words[5:]]
    return words[4] if form == ["cast", "(", "as", ")"] else ""


def _decimal_stands(tokens: list[Token], number: int) -> str:
    """ "exactly" where SQLite leaves a decimal's text alone: within CAST(… AS …), before IS NULL, as an argument of a
    function that takes decimals; also where COALESCE, IFNULL, IIF or CASE hands it on to such a place. "result" where
    it is handed on to the end. "" anywhere else.
    """
    words = [token.text.lower() for token in tokens]
    if _cast_to(tokens, number) == "integer":
        return "exactly"
    start, end = number, number + 1  # what hands the decimal on, as far as it is known
    while (start, end) != (0, len(words)):
        before, after = words[start - 1] if start else "", words[end : end + 3]
        if after[:2] == ["is", "null"] or after == ["is", "not", "null"]:
            return "exactly"
        if before == "(" and after[:1] == ["as"] and words[start - 2] == "cast":
            return "exactly" if after[1:] in (["text", ")"], ["real", ")"]) else ""
        start, end, found = _handed_on(tokens, words, start, end)
        if found or start < 0 or end > len(words):
            return found
    return "result"


def _handed_on(tokens: list[Token], words: list[str], start: int, end: int) -> tuple[int, int, str]:
    """From where to where that stands which hands on what is from ``start`` to ``end``; -1 if nothing does. "exactly"
    if it is an argument of a function that takes decimals.
    """
    before, after = words[start - 1] if start else "", words[end] if end < len(words) else ""
    if before in ("(", ",") and after in (")", ","):
        opened, argument = _opened(words, start)
        function = _called(tokens, opened)
        if function in TAKES_DECIMALS:
            return start, end, "exactly"
        if function in ("coalesce", "ifnull") or (function == "iif" and argument > 0):
            return opened - 1, _closed(words, end), ""
        if not function and before == "(" and after == ")":
            return start - 1, end + 1, ""
    elif before in ("then", "else") and after in ("when", "else", "end"):
        return *_case_around(words, start, end), ""
    return -1, end, ""


_BEFORE_PARENTHESES = ("when", "then", "else", "case", "and", "or", "not", "in", "is", "between", "like")


def _called(tokens: list[Token], opened: int) -> str:
    """The function whose arguments begin with the parenthesis at ``opened``, "" if it is none's."""
    before = tokens[opened - 1] if opened > 0 else None
    word = before.text.lower() if before and before.kind == "name" else ""
    return "" if word in _BEFORE_PARENTHESES else word


def _opened(words: list[str], start: int) -> tuple[int, int]:
    """The parenthesis that ``start`` is within, and how many commas of its own stand between; -1 if there is none."""
    depth = commas = 0
    for at in range(start - 1, -1, -1):
        depth += (words[at] == ")") - (words[at] == "(")
        if depth < 0:
            return at, commas
        commas += depth == 0 and words[at] == ","
    return -1, commas


def _closed(words: list[str], end: int) -> int:
    """The place after the parenthesis that closes what ``end`` is within; beyond the words if none does."""
    depth = 0
    for at in range(end, len(words)):
        depth += (words[at] == "(") - (words[at] == ")")
        if depth < 0:
            return at + 1
    return len(words) + 1


def _case_around(words: list[str], start: int, end: int) -> tuple[int, int]:
    """From CASE to END, around a branch of it; out of bounds if there is none."""
    depth, first = 0, start - 1
    while first >= 0 and not (words[first] == "case" and depth == 0):
        depth += (words[first] == "end") - (words[first] == "case")
        first -= 1
    depth, last = 0, end
    while last < len(words) and not (words[last] == "end" and depth == 0):
        depth += (words[last] == "case") - (words[last] == "end")
        last += 1
    return first, last + 1
