"""One statement written in many ways: comments, blanks, capitals, quotes, prefixes, version comments, sessions.

It knows the statements of statements/verbs.sql by their own simple form and shares nothing with whimbrel's lexer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from random import Random

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|\"[^\"]*\"|\{\w\}|[\w@]+|<>|[^\s\w]")
_BLANKS = (" ", "  ", "\t", "\n", "\v", "\f", "\r", "\r\n", " \n\t ")
# A blank follows a version comment that is not carried out: MariaDB takes it out of the text of a trigger that it logs,
# and what stood before and after it would become one word.
_COMMENTS = (
    *(
        "/**/",
        "/* x */",
        "/* ' */",
        '/* " */',
        "/* ` */",
        "/***/",
        "/* -- */",
        "/* # */",
        "/*\n;\n*/",
        "/* DROP TABLE t */",
    ),
    *("-- x\n", "--\n", "--\t;\n", "-- '\n", "-- /* \n", "--\r\n", "--\x01 y\n", "--\x1f\n", "--\v\n", "--  FOR \n"),
    *("#\n", "# '\n", "#x */\n", "# /*\n", "#\r TRUNCATE u\n"),
    *("/*!*/", "/*! */", "/*!50101 */", "/*!40000*/", "/*!99999 junk */ ", "/*!99999 ' */ ", "/*!99999 /* in */ */ "),
    *("/*!999999 z z */ ", "/*M!999999 q */ ", "/*M */", "/*+ x */", "/*:D */", "/*!99999*/ ", "/*/ */", "/* /* */"),
)
_OPENED = ("/*!", "/*! ", "/*!40000 ", "/*!50101 ", "/*!50101", "/*!32302\n", "/*!050101 ")  # both servers carry it out
_DOUBTFUL = (
    *(
        "/*!50700 ",
        "/*!50701 ",
        "/*!80000 ",
        "/*!80000",
        "/*!90100 ",
        "/*!99999 ",
        "/*!100100 ",
        "/*!100100",
        "/*!101100 ",
    ),
    *(
        "/*!110800 ",
        "/*!090701 ",
        "/*!0900 ",
        "/*!500001 ",
        "/*!5010 ",
        "/*M!",
        "/*M!100100 ",
        "/*M!50700 ",
        "/*M!999999 ",
    ),
)
_ENDS = ("", "", ";", " ;", ";;", "\n", " -- x", " --", "#", " # '", "/* */", "; -- y\n", ";/* */", "\0", ";\n\n")
_TRICKY = {  # characters whose second byte is a backslash, where there are such
    "gbk": "縗", "gb18030": "縗", "sjis": "ソ", "cp932": "表", "big5": "功", "latin1": "ÿ",
    "utf8mb4": "😀", "utf8mb3": "é", "ujis": "表", "euckr": "가", "cp1251": "я", "latin2": "ł", "binary": "x",
}  # fmt: skip
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "latin2": "iso8859-2", "ujis": "euc-jp", "euckr": "euc-kr"}
_CODECS |= {"sjis": "shift-jis", "latin1": "cp1252", "binary": "ascii"}
_MODES = ("", "", "", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "ANSI", "TRADITIONAL")
_PREFIXES = (
    *(
        "SET STATEMENT max_statement_time=60 FOR ",
        "set statement lock_wait_timeout = 5, sort_buffer_size=1024*1024 for ",
    ),
    *(
        "SET/**/STATEMENT/* FOR */max_statement_time = (SELECT 30)\nFOR\n",
        "SET STATEMENT join_buffer_size=IF(1,2000,3) FOR ",
    ),
    *("SET STATEMENT sql_mode='' FOR ", "SET STATEMENT sql_mode='ANSI_QUOTES', max_statement_time=9 FOR "),
    "SET STATEMENT max_statement_time=60 FOR SET STATEMENT lock_wait_timeout=5 FOR ",
)


@dataclass(frozen=True)
class Written:
    """``statements`` for one session, in bytes of its character set, the last of which does it. ``same``: it means what
    the plain statement does.
    """

    sql_mode: str
    charset: str
    binlog_format: str
    statements: tuple[bytes, ...]
    same: bool


def plainly(template: str, names: dict[str, str]) -> Written:
    return Written("", "utf8mb4", "ROW", (_filled(template, names).encode(),), same=True)


def mutated(template: str, names: dict[str, str], choose: Random, *, mariadb: bool) -> Written:
    """``names``: what t, u, p, d and e stand for."""
    charset = choose.choice([name for name in _TRICKY if name != "gb18030" or not mariadb])
    mode = choose.choice([*_MODES, "ORACLE"] if mariadb else _MODES)
    ansi = "ANSI" in mode or mode == "ORACLE"
    hands = _Hands(choose, charset, ansi=ansi, backslash="NO_BACKSLASH" not in mode)
    tokens = _TOKEN.findall(template)
    words = [hands.word(token, tokens[at - 1] if at else "", names) for at, token in enumerate(tokens)]
    same = True
    if choose.random() < 0.3:
        same = hands.wrap(words, mariadb=mariadb)
    sql = hands.joined(words)
    if mariadb and choose.random() < 0.12:
        prefix = choose.choice(_PREFIXES)
        same = same and "sql_mode" not in prefix
        sql = prefix + sql
    statements = _statements(sql, names, choose)
    if choose.random() < 0.5:
        statements[0] = choose.choice(hands.fillers) + statements[0]
    if choose.random() < 0.5:
        statements[-1] += choose.choice(_ENDS)
    codec = _CODECS.get(charset, charset)
    form = choose.choice(["ROW", "ROW", "ROW", "STATEMENT", "MIXED"])
    return Written(mode, charset, form, tuple(each.encode(codec) for each in statements), same)


def _statements(sql: str, names: dict[str, str], choose: Random) -> list[str]:
    """As it is, prepared, or in a procedure."""
    way = choose.random()
    if way < 0.06 and "\\" not in sql and "SQL_MODE" not in sql.upper():
        return [f"PREPARE prepared FROM '{sql.replace(chr(39), chr(39) * 2)}'", "EXECUTE prepared"]
    if way < 0.12:
        return [f"CREATE PROCEDURE {names['d']}.in_it() {sql}", f"CALL {names['d']}.in_it()"]
    return [sql]


class _Hands:
    def __init__(self, choose: Random, charset: str, *, ansi: bool, backslash: bool) -> None:
        self._choose, self._ansi, self._backslash = choose, ansi, backslash
        self._tricky = _TRICKY[charset]
        self.fillers = (*_BLANKS, *_COMMENTS, f"/* {self._tricky} */", f"-- {self._tricky}\n", f"/*{self._tricky}*/")
        self._busy = choose.choice([0.1, 0.4, 0.9])  # how much of it is changed

    def word(self, token: str, before: str, names: dict[str, str]) -> str:
        choose = self._choose
        if token[0] == "{":
            return self._name(token[1], before, names)
        if token[0] == "'":
            return self._text(_filled(token, names))
        if token.isupper() and choose.random() < self._busy:
            return "".join(choose.choice((letter.lower(), letter)) for letter in token)
        return token

    def _name(self, kind: str, before: str, names: dict[str, str]) -> str:
        name = self._quoted(names[kind])
        if kind in "tup" and before != "." and self._choose.random() < 0.2:
            return f"{self._quoted(names['d'])}{self._near_dot()}.{self._near_dot()}{name}"
        return name

    def _near_dot(self) -> str:
        return self._choose.choice(self.fillers) if self._choose.random() < self._busy / 3 else ""

    def _quoted(self, name: str) -> str:
        way = self._choose.random()
        if way > self._busy:
            return name
        return f'"{name}"' if self._ansi and way < self._busy / 2 else f"`{name}`"

    def _text(self, token: str) -> str:
        ends = ["", "", "''", self._tricky, "/*", "-- ", f"{self._tricky}''"]
        ends += ["\\'", "\\\\", "\\n"] if self._backslash else ["\\", "\\\\"]
        return token[:-1] + self._choose.choice(ends) + "'" if self._choose.random() < self._busy else token

    def joined(self, words: list[str]) -> str:
        """With a refiller between two tokens, or what must at least stand there."""
        text = words[0]
        for before, word in pairwise(words):
            if self._choose.random() < self._busy:
                refiller = self._choose.choice(self.fillers)
                if refiller.startswith("--") and before.endswith("-"):
                    refiller = f" {refiller}"
            else:
                refiller = " " if self._touch(before, word) else ""
            text += refiller + word
        return text

    @staticmethod
    def _touch(before: str, word: str) -> bool:
        tight = before in ("(", ".") or (word in (")", ".", ",", "(") and not before.isupper())
        return not tight

    def wrap(self, words: list[str], *, mariadb: bool) -> bool:
        """Put some of the words into a version comment; whether the server carries them out as if they stood alone."""
        first = self._choose.randrange(len(words))
        last = self._choose.randrange(first, len(words))
        sure = self._choose.random() < 0.6
        opened = self._choose.choice(
            (*_OPENED, "/*M!100100 ", "/*M! ") if sure and mariadb else _OPENED if sure else _DOUBTFUL
        )
        words[first] = opened + words[first]
        words[last] += self._choose.choice([" */", "*/", "\n*/"])
        return sure


def _filled(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w)\}", lambda found: names[found[1]], text)
