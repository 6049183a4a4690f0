"""The corpus that the servers judge (test_any_statement.py, test_daily_statements.py), read without them: a statement
means the same however it is written, and what may be followed is followed.
"""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.binlog.mutations import Written, mutated, plainly
from tests.binlog.test_any_statement import Verb, verbs
from tests.binlog.test_daily_statements import sections
from whimbrel.mysql.binlog.lexer import ANSI_QUOTES, NO_BACKSLASH_ESCAPES, Dialect
from whimbrel.mysql.binlog.statements import Meaning, Statement, read_statement

NAMES = {"t": "t", "u": "u", "p": "p", "d": "shop", "e": "other"}
VERSIONS = {"mariadb": 101106, "mysql": 90701}
CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "latin2": "iso8859-2", "ujis": "euc-jp", "euckr": "euc-kr"}
CODECS |= {"sjis": "shift-jis", "latin1": "cp1252", "binary": "ascii"}
WAYS = 8  # of writing each
NOT_LOGGED = {"SHOW", "LOCK", "UNLOCK", "EXPLAIN", "DESCRIBE", "DO", "SELECT", "WITH", "VALUES", "TABLE", "HANDLER"}
NOT_LOGGED |= {"PREPARE", "EXECUTE", "DEALLOCATE", "INSERT", "UPDATE", "DELETE", "REPLACE", "CALL"}
STOPS = {Meaning.DATA, Meaning.UNKNOWN, Meaning.GONE}


def read(written: Written, flavor: str) -> Statement:
    modes = set(written.sql_mode.split(","))
    sql_mode = (ANSI_QUOTES if modes & {"ANSI_QUOTES", "ANSI", "ORACLE"} else 0) | (
        NO_BACKSLASH_ESCAPES if "NO_BACKSLASH_ESCAPES" in modes else 0
    )
    dialect = Dialect(flavor == "mariadb", VERSIONS[flavor], sql_mode, written.charset)
    sql = written.statements[-1].decode(CODECS.get(written.charset, written.charset))
    return read_statement(sql, NAMES["d"], {("shop", "t"), ("shop", "p")}, dialect)


def corpus() -> list[tuple[str, Verb]]:
    return [(flavor, verb) for flavor in VERSIONS for verb in verbs(flavor)]


@pytest.mark.parametrize(
    ("flavor", "verb"), corpus(), ids=lambda each: each if isinstance(each, str) else each.statement
)
def test_a_statement_means_the_same_however_it_is_written(flavor: str, verb: Verb) -> None:
    plain = read(plainly(verb.statement, NAMES), flavor)
    if verb.outcome == "rows":
        assert plain.meaning in {Meaning.DATA, Meaning.UNKNOWN}
    if verb.outcome == "follows":
        assert plain.meaning not in STOPS or logged_otherwise(plain.verb, verb.statement), plain
    choose = Random(verb.statement)
    for _ in range(WAYS):
        written = mutated(verb.statement, NAMES, choose, mariadb=flavor == "mariadb")
        if written.same and len(written.statements) == 1 and not nested(written):
            found = read(written, flavor)
            assert (found.meaning, found.table) == (plain.meaning, plain.table), (written, found)
            assert (found.alteration is None) == (plain.alteration is None)


def logged_otherwise(verb: str, statement: str) -> bool:
    """Not at all, or as the rows or the statements that it carries out."""
    makes_and_fills = verb == "CREATE" and re.search("SELECT|TABLE.* TABLE", statement)
    return verb in NOT_LOGGED or statement.startswith("BEGIN NOT") or bool(makes_and_fills)


def nested(written: Written) -> bool:
    """A version comment within another: the servers do not take these for what they stand around."""
    return len(re.findall(rb"/\*M?!", written.statements[-1])) > 1


def test_daily_life_is_followed() -> None:
    captured = {("shop", "kept"), ("shop", "book")}
    seen = 0
    for servers, who, statements in sections():
        for flavor in servers.split():
            for sql in statements:
                found = read_statement(sql, "shop", captured, Dialect(flavor == "mariadb", VERSIONS[flavor]))
                followed = found.meaning is not Meaning.UNKNOWN or found.verb in NOT_LOGGED
                assert followed, (who, sql, found)
                seen += 1
    assert seen > 200
