"""Whether another machine's SQLite makes the same of expressions: versions say little, so some answers are compared.

The load is evaluated here and changes by a function elsewhere, so both must make the same items of the same row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from whimbrel.mapping.expressions import tokens_of

OPERATORS = ""  # of PROBES: what needs no function
# By function, expressions at whose edges versions of SQLite have differed, or could.
PROBES: Mapping[str, tuple[str, ...]] = {
    OPERATORS: (
        "1.0/3",
        "7/2",
        "-7/2",
        "-7%3",
        "9223372036854775807+1",
        "1e15||''",
        "0.1+0.2||''",
        "123456789012345680.0||''",
        "CAST('12abc' AS INTEGER)",
        "CAST(1e300 AS INTEGER)",
        "CAST('1e3' AS REAL)",
        "CAST(2.5 AS TEXT)",
        "CAST(-0.0 AS TEXT)",
        "'a'<'B'",
        "'10'<9",
        "x'ff'>'z'",
        "NULL IS NULL",
        "'é' LIKE 'É'",
        "'abc' LIKE 'A_C'",
        "'a%' LIKE 'a\\%' ESCAPE '\\'",
        "'abc' GLOB 'a[a-c]*'",
        "1 BETWEEN 0 AND 2",
        "2 IN (1,2)",
        "CASE 'x' WHEN 'X' THEN 1 ELSE 2 END",
        "~5",
        "1<<62",
        "-1>>1",
    ),
    "lower": ("lower('AÉß')",),
    "upper": ("upper('aéß')",),
    "ltrim": ("ltrim('  a ')", "ltrim('xyxa','xy')"),
    "rtrim": ("rtrim(' a  ')", "rtrim('axyx','xy')"),
    "trim": ("trim(' a\t ')", "trim('xax','x')"),
    "replace": ("replace('aaa','aa','b')", "replace('a','','b')"),
    "substr": (
        "substr('héllo',2,2)",
        "substr('abc',-2)",
        "substr('abc',0,2)",
        "substr(x'010203',2)",
        "substr('abc',2,-1)",
    ),
    "substring": ("substring('héllo',2,2)", "substring('abc',-2)"),
    "hex": ("hex('é')", "hex(12)", "hex(1.5)"),
    "length": ("length('é')", "length(x'0102')", "length(12.0)"),
    "instr": ("instr('héllo','l')", "instr(x'0102',x'02')"),
    "abs": ("abs(-1.5)", "abs('x')", "abs(-9223372036854775807)"),
    "round": (
        "round(2.5)",
        "round(-2.5)",
        "round(2.675,2)",
        "round(1.005,2)",
        "round(1e15+0.5)",
        "round(0.5)",
        "round(123.456,-1)",
    ),
    "max": ("max(1,'a',2.5)", "max(1,NULL)"),
    "min": ("min(1,'a',2.5)", "min(x'00','a')"),
    "sign": ("sign(-2.5)", "sign('x')"),
    "coalesce": ("coalesce(NULL,2)",),
    "ifnull": ("ifnull(NULL,'x')",),
    "nullif": ("nullif(1,1.0)", "nullif('a','A')"),
    "iif": ("iif(0.1,'a','b')", "iif('0',1,2)"),
    "typeof": ("typeof(1.0)", "typeof(x'00')"),
    "unicode": ("unicode('é')",),
    "char": ("char(233,128038)",),
    "zeroblob": ("hex(zeroblob(2))",),
    "printf": (
        "printf('%.3f|%5d|%-4s|%x|%e',2.0005,7,'é',255,12345.678)",
        "printf('%,d|%08.2f|%g',1234567,3.14159,1e-5)",
    ),
    "format": ("format('%.3f|%5d|%-4s|%x|%e',2.0005,7,'é',255,12345.678)", "format('%q','a''b')"),
    "like": ("like('A_c','abc')",),
    "glob": ("glob('a*','abc')",),
    "json_extract": (
        "json_extract('{\"a\":[1,2.50,\"x\"]}','$.a[1]')",
        "json_extract('{\"a\":{\"b\":null}}','$.a')",
        "json_extract('[1e3]','$[0]')",
    ),
    "->": ("'{\"a\":[1,2.50]}'->'a'", "'[1]'->0"),
    "->>": ("'{\"a\":[1,2.50]}'->>'a'", "'{\"a\":\"é\"}'->>'$.a'"),
    "date": ("date('2024-02-29','+1 year')", "date('2024-01-31','+1 month')", "date(2460000.5)"),
    "time": ("time('12:34:56.789')",),
    "datetime": (
        "datetime('2024-03-10 02:30','+02:00')",
        "datetime(1700000000,'unixepoch')",
        "datetime('2024-01-31','+1 month')",
    ),
    "julianday": ("julianday('2024-02-29 12:00')",),
    "strftime": ("strftime('%Y-%m-%d %H:%M:%f|%j|%s|%w|%W','2024-02-29 12:34:56.789')",),
}


def answers_of(texts: Iterable[str]) -> dict[str, str]:
    """By each function that the expressions ``texts`` have, and for operators, a digest of what SQLite makes of its
    probes here. Empty where there are no expressions.
    """
    words = {token.text.lower() for text in texts for token in tokens_of(text)}
    return answers_to(name for name in PROBES if name == OPERATORS or name in words) if words else {}


def answers_to(names: Iterable[str]) -> dict[str, str]:
    """The same for functions by name, those that have probes here."""
    connection = sqlite3.connect(":memory:")
    try:
        return {name: _digest(connection, PROBES[name]) for name in names if name in PROBES}
    finally:
        connection.close()


def _digest(connection: sqlite3.Connection, probes: Iterable[str]) -> str:
    return blake2b(repr([_answer(connection, each) for each in probes]).encode(), digest_size=6).hexdigest()


def _answer(connection: sqlite3.Connection, probe: str) -> object:
    try:
        return connection.execute(f"SELECT {probe}").fetchone()[0]
    except (sqlite3.Error, OverflowError):
        return "an error"  # whatever its words
