"""The lexer takes a statement apart as the servers do: the servers themselves are asked.

A text of comments, quotes and odd blanks in every mixture is sent as it is, and again as what the lexer makes of it,
written plainly. Both must give the same. What the lexer refuses, the server must refuse too.
"""

from __future__ import annotations

import random
import re

import pymysql
import pytest

from demo.servers import SqlServer
from whimbrel.mysql.binlog.lexer import ANSI_QUOTES, NO_BACKSLASH_ESCAPES, Dialect, NotUnderstood, Token, tokens
from whimbrel.mysql.connect import version_number

SAMPLES = 600
ENCODINGS = {
    "utf8mb4": "utf-8",
    "latin1": "latin-1",
    "latin2": "iso8859-2",
    "hebrew": "iso8859-8",
    "cp850": "cp850",
    "cp866": "cp866",
    "macroman": "mac-roman",
    "gbk": "ascii",
}
PIECES = [
    *("-- ", "--", "--\n", "--\t", "--\x01", "--\x7f", "-", "#", "\n", "\r", "\v", "\f", " ", "\t", "\0"),
    *("/*", "*/", "/**/", "/*!", "/*!50101", "/*!050101 ", "/*!99999", "/*!999999 ", "/*!100000 ", "/*!50701 ", "/*!5"),
    *("/*M!", "/*M!100000", "/*M!999999 ", "*", "/", "!", "+ 1 ", "+ 2 ", "+ 30 ", "+ 'a' ", "+ '\\'' ", "+ '\\", "'"),
    *('"', "+ `a` ", "`", "''", '""', "\\", "+ 7 -- x\n", "+ 7 # x\n", "1", "x", "\xa0"),
]


@pytest.mark.parametrize("mode", [0, ANSI_QUOTES, NO_BACKSLASH_ESCAPES], ids=["default", "ansi", "no-backslash"])
@pytest.mark.parametrize("charset", ["utf8mb4", "latin1"])
def test_the_servers_take_texts_apart_alike(source_server: SqlServer, mode: int, charset: str) -> None:
    choose = random.Random(f"{mode} {charset}")
    names = {0: "", ANSI_QUOTES: "ANSI_QUOTES", NO_BACKSLASH_ESCAPES: "NO_BACKSLASH_ESCAPES"}
    with source_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
        major, minor, patch = version_number(version)
        mariadb = source_server.flavor == "mariadb"
        dialect = Dialect(mariadb, major * 10_000 + minor * 100 + patch, mode, charset)
        cursor.execute(f"SET sql_mode = '{names[mode]}'")
        cursor.execute(f"SET NAMES {charset}")
        cursor.execute("SET character_set_results = utf8mb4")
        understood = 0
        for _ in range(SAMPLES):
            sql = (
                "SELECT 1 "
                + "".join(choose.choices(PIECES, k=choose.randrange(1, 9)))
                + choose.choice(["", ";", " ; "])
            )
            wanted = answer(connection, sql, charset)
            try:
                plain = " ".join(spelled(token, mode) for token in tokens(sql, dialect))
            except NotUnderstood:
                assert wanted is None, f"{sql!r} was refused, and the server takes it: {wanted}"
                continue
            assert answer(connection, plain, charset) == wanted, f"{sql!r} became {plain!r}"
            understood += wanted is not None
        assert understood > SAMPLES / 20


INVALID = {1064, 1065, 1149, 1231, 1305, 1630}


def answer(connection: pymysql.connections.Connection, sql: str, charset: str) -> object:
    """What the server makes of it: the values, or None if it is not valid."""
    try:
        connection.query(sql.encode(ENCODINGS[charset]))
    except pymysql.err.MySQLError as error:
        if error.args[0] in INVALID:
            return None
        if error.args[0] == 1054:  # no such column: it was read as a name
            return "a name"
        raise
    return connection._result.rows  # type: ignore[attr-defined]


def spelled(token: Token, mode: int) -> str:
    """Plainly, with a backslash in a string as it was."""
    if token.kind == "name":
        return "`" + token.text.replace("`", "``") + "`"
    if token.kind == "text":
        escaped = "'" if mode & NO_BACKSLASH_ESCAPES else r"\\.|'"
        return (
            "'"
            + re.sub(escaped, lambda found: "''" if found[0] == "'" else found[0], token.text, flags=re.DOTALL)
            + "'"
        )
    return token.text


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1", "cp850", "cp866", "hebrew", "latin2", "macroman", "gbk"])
def test_what_is_blank_and_what_begins_a_comment(source_server: SqlServer, charset: str) -> None:
    with source_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET NAMES {charset}")
        cursor.execute("SET character_set_results = utf8mb4")
        dialect = Dialect(source_server.flavor == "mariadb", 101106, 0, charset)
        for byte in [*range(1, 0x30), 0x7F, *range(0x80, 0x100)]:
            try:
                character = bytes([byte]).decode(ENCODINGS[charset])
            except UnicodeError:
                continue
            for before, after in ((b"SELECT", b"1"), (b"SELECT 5--", b"\n")):
                text = before.decode() + character + after.decode()
                try:
                    connection.query(before + bytes([byte]) + after)
                    taken = True
                except pymysql.err.MySQLError:
                    taken = False
                try:
                    words = [token.text for token in tokens(text, dialect)]
                except NotUnderstood:
                    continue
                assert taken == (words in (["SELECT", "1"], ["SELECT", "5"])) or words[1:2] not in (["1"], ["5"]), text
