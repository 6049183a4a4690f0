"""A statement's text cut into tokens, by the servers' own lexical rules.

What is a comment, where it ends and whether its text is executed depends on the server's kind and version; what is a
name and where a string ends depends on the sql_mode that the binlog holds for the statement. Text that the server
cannot have executed raises ``NotUnderstood``: it means that these rules are not the ones that the server used.

Sources: lex_one_token and consume_comment in mysql-server sql/sql_lex.cc; Lex_input_stream::lex_one_token in MariaDB
sql/sql_lex.cc.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

ANSI_QUOTES, NO_BACKSLASH_ESCAPES = 1 << 2, 1 << 20  # of sql_mode, on both servers
_BLANKS = " \t\n\v\f\r"
# What the servers' tables of one-byte character sets call a space or a control character beyond ASCII, and where they
# do not call DEL one (tests/binlog/test_lexer.py asks both servers).
_NO_BREAK_SPACE = "\xa0"
_HAVE_NO_BREAK_SPACE = frozenset(
    "armscii8 cp1250 cp852 cp866 dec8 geostd8 greek hebrew keybcs2 latin1 latin2 latin5 latin7".split()  # noqa: SIM905
)
_OTHER_CONTROLS = frozenset("cp1250 cp850 hebrew hp8 latin7 macroman".split())  # noqa: SIM905
_DEL_IS_NO_CONTROL = frozenset("cp1251 cp1257 cp852 cp866 keybcs2 latin2 macce macroman".split())  # noqa: SIM905


class NotUnderstood(Exception):
    """The text is not a statement that is known, or not one at all."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """``version`` is the server's as one number: 8.4.3 is 80403, 10.11.6 is 101106. ``charset`` is the client's."""

    mariadb: bool
    version: int
    sql_mode: int = 0
    charset: str = "utf8mb4"

    @property
    def blanks(self) -> str:
        return _BLANKS + _NO_BREAK_SPACE if self.charset in _HAVE_NO_BREAK_SPACE else _BLANKS


class Token(NamedTuple):
    """``kind`` is ``word`` (a keyword or a plain name), ``name`` (in quotes), ``text`` (a string) or ``sign``."""

    text: str
    kind: str


_WORD = re.compile(r"[0-9A-Za-z_$\x80-\U0010ffff]+")
_TICKED = re.compile(r"`((?:[^`]|``)*)`")
_QUOTED = {quote: re.compile(rf"{quote}((?:[^{quote}]|{quote}{quote})*){quote}") for quote in "'\""}
_ESCAPED = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.|{quote}{quote})*){quote}", re.DOTALL) for quote in "'\""}
# Six digits are a version only before a blank in MySQL, always in MariaDB.
_VERSIONS = {True: re.compile(r"[0-9]{5,6}"), False: re.compile(r"[0-9]{6}(?=[ \t\n\v\f\r])|[0-9]{5}")}
_LINE = re.compile(r"[^\n\0]*")
_MYSQL_COMMENTS_UNKNOWN_TO_MARIADB = range(50_700, 100_000)


def tokens(sql: str, dialect: Dialect) -> list[Token]:
    """Raises NotUnderstood."""
    return _Lexer(sql, dialect).all()


class _Lexer:
    def __init__(self, sql: str, dialect: Dialect) -> None:
        self._blanks = dialect.blanks
        self._sql = sql.rstrip(self._blanks + ";").removesuffix("\0")  # one NUL is the end, too, if nothing follows
        self._dialect = dialect
        self._at = 0
        self._executing = False  # inside of a version comment whose text counts

    def all(self) -> list[Token]:
        found: list[Token] = []
        while self._at < len(self._sql):
            if self._skipped():
                continue
            found.append(self._token())
        if self._executing:
            raise NotUnderstood("a version comment without an end")
        return found

    def _skipped(self) -> bool:
        """Whether a blank or a comment stood here, which is passed now."""
        sql, at = self._sql, self._at
        if sql[at] in self._blanks:
            self._at += 1
        elif sql[at] == "#" or (sql.startswith("--", at) and self._begins_comment(at + 2)):
            self._pass_line()
        elif sql.startswith("/*", at):
            self._comment()
        elif self._executing and sql.startswith("*/", at):
            self._executing = False
            self._at += 2
        else:
            return False
        return True

    def _begins_comment(self, at: int) -> bool:
        """Two dashes are a comment only before white space, a control character or the end."""
        following, charset = self._sql[at : at + 1], self._dialect.charset
        if following > "\x7f" and following not in self._blanks and charset in _OTHER_CONTROLS:
            raise NotUnderstood(f"two dashes before {following!r}, which may be a control character in {charset}")
        if following == "\x7f":
            return charset not in _DEL_IS_NO_CONTROL
        return not following or following in self._blanks or following < " "

    def _pass_line(self) -> None:
        """A comment to the end of the line: a line feed. A NUL ends one, too, and nothing is valid after it."""
        found = _LINE.match(self._sql, self._at)
        assert found is not None, "it matches nothing, too"
        self._at = found.end()

    def _comment(self) -> None:
        sql, at = self._sql, self._at + 2
        only_mariadb = sql.startswith("M!", at)
        if not sql.startswith("!", at) and not (only_mariadb and self._dialect.mariadb):
            self._at = self._end_of_comment(at, nested=False)
            return
        at += 2 if only_mariadb else 1
        version = _VERSIONS[self._dialect.mariadb].match(sql, at)
        if version and not self._executes(int(version[0]), only_mariadb):
            self._at = self._end_of_comment(at, nested=True)
            return
        self._at = version.end() if version else at
        self._executing = True

    def _executes(self, version: int, only_mariadb: bool) -> bool:
        if version > self._dialect.version:
            return False
        return not self._dialect.mariadb or only_mariadb or version not in _MYSQL_COMMENTS_UNKNOWN_TO_MARIADB

    def _end_of_comment(self, at: int, *, nested: bool) -> int:
        """A version comment that is not executed may have comments in it; in a plain one ``/*`` means nothing."""
        while True:
            end = self._sql.find("*/", at)
            if end < 0:
                raise NotUnderstood("a comment without an end")
            inner = self._sql.find("/*", at, end + 1) if nested else -1  # in /*/ the first two come first
            if inner < 0:
                return end + 2
            at = self._end_of_comment(inner + 2, nested=False)

    def _token(self) -> Token:
        sql, at = self._sql, self._at
        if found := _WORD.match(sql, at):
            return self._word(found)
        quote = sql[at]
        if quote == "`":
            return self._quoted(_TICKED.match(sql, at), "``", "`", "name")
        if quote in "'\"":
            mode = self._dialect.sql_mode
            if quote == '"' and mode & ANSI_QUOTES:
                return self._quoted(_QUOTED[quote].match(sql, at), '""', '"', "name")
            pattern = (_QUOTED if mode & NO_BACKSLASH_ESCAPES else _ESCAPED)[quote]
            return self._quoted(pattern.match(sql, at), quote * 2, quote, "text")
        if quote == "\0":
            raise NotUnderstood("a NUL outside of strings and comments")
        self._at += 1
        return Token(quote, "sign")

    def _word(self, found: re.Match[str]) -> Token:
        """Up to a blank: the no-break space of a one-byte character set is one, and a letter of the others."""
        word = found[0]
        if _NO_BREAK_SPACE in self._blanks:
            word = word.partition(_NO_BREAK_SPACE)[0]
        self._at += len(word)
        return Token(word, "word")

    def _quoted(self, found: re.Match[str] | None, doubled: str, quote: str, kind: str) -> Token:
        if found is None:
            raise NotUnderstood(f"a {quote} without its end")
        self._at = found.end()
        return Token(found[1].replace(doubled, quote), kind)
