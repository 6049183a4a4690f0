"""A place in the tokens of a statement, and what may stand there: names, lists of them, accounts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from whimbrel.mysql.binlog.lexer import NotUnderstood, Token

Name = tuple[str, str]  # schema and table

_QUALITIES = frozenset(
    {"AGGREGATE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "UNDO", "JSON", "RELATIONAL", "DUALITY"}
)


_BY_FILE = "#mysql50#"  # before the name of a file, which stands for the table in it


class TokenReader:
    """Goes through ``words`` once, from left to right."""

    def __init__(self, words: Sequence[Token], schema: str, captured: Collection[Name]) -> None:
        self._words = words
        self._at = 0
        self._schema = schema
        self._captured = captured

    def at_end(self) -> bool:
        """Whether nothing follows but semicolons."""
        return all(word == Token(";", "sign") for word in self._words[self._at :])

    def word(self, ahead: int = 0) -> str:
        """The plain word or sign there, in capitals; "" where a quoted name, a string or nothing stands."""
        at = self._at + ahead
        if at >= len(self._words) or self._words[at].kind not in ("word", "sign"):
            return ""
        return self._words[at].text.upper()

    def take(self) -> Token:
        if self._at >= len(self._words):
            raise NotUnderstood("it ends too early")
        self._at += 1
        return self._words[self._at - 1]

    def took(self, *words: str) -> bool:
        """Whether these words stand here, one after the other; then they are passed."""
        if any(self.word(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def pass_prefixes(self) -> None:
        """MariaDB: ``SET STATEMENT variable = value, … FOR`` before a statement."""
        while self.word() == "SET" and self.word(1) == "STATEMENT":
            depth = 0
            while depth or self.word() != "FOR":
                if self.word() in ("SQL_MODE", "CHARACTER_SET_CLIENT"):
                    raise NotUnderstood("SET STATEMENT changes how the text is read")
                depth += {"(": 1, ")": -1}.get(self.word(), 0)
                self.take()
            self.take()

    def name(self) -> Name:
        """``a.b``, ``b`` or ``.b``, in quotes or not; what follows a dot is a name, keyword or not."""
        if self.word() == ".":
            self.take()
            return self._schema, self._part()
        first = self._part()
        if self.word() != ".":
            return self._schema, first
        self.take()
        return first, self._part()

    def _part(self) -> str:
        text, kind = self.take()
        if kind not in ("word", "name"):
            raise NotUnderstood(f"{text[:40]!r} stands where a name is expected")
        return _plain(text) if text.startswith(_BY_FILE) else text

    def names(self, *between: str) -> list[Name]:
        """Names with commas between them; ``between``: words that take one name to the next (``TO``)."""
        found = [self.name()]
        while self.pass_waiting() or self.word() in (",", *between):
            if self.word() in (",", *between):
                self.take()
                found.append(self.name())
        return found

    def pass_waiting(self) -> bool:
        """MariaDB: how long a statement waits for its lock."""
        if self.took("NOWAIT"):
            return True
        if self.word() == "WAIT" and self.word(1)[:1].isdigit():
            self.take()
            self.take()
            if self.took("."):
                self.take()
            return True
        return False

    def rest(self) -> Sequence[Token]:
        return self._words[self._at :]

    def ended(self, *last_words: str) -> None:
        """Raises NotUnderstood if something else than ``last_words`` follows."""
        while self.word() in last_words and self.word():
            self.take()
        if not self.at_end():
            raise NotUnderstood(f"{self.take().text[:40]!r} is not expected there")

    def pass_definition(self) -> None:
        """What may stand between CREATE or ALTER and the kind of a stored object or an index."""
        while True:
            if self.word() == "DEFINER" and self.word(1) == "=":
                self.take()
                self.take()
                self._pass_account()
            elif self.word() == "ALGORITHM" and self.word(1) == "=":
                self._at += 3
            elif self.took("SQL", "SECURITY") or self.word() in _QUALITIES:
                self.take()
            else:
                return

    def _pass_account(self) -> None:
        self.take()
        if self.took("("):
            self.take()
        if self.took("@"):
            self.take()
            while self.took("."):
                self.take()

    def captured_one(self, names: Collection[Name]) -> Name | None:
        """The first captured table that one of ``names`` may be, as it is captured."""
        return next((each for name in names for each in self._captured if _same_table(name, each)), None)

    def owns_captured(self, schema: str) -> bool:
        return any(same_name(schema, owner) for owner, _ in self._captured)


def _same_table(name: Name, other: Name) -> bool:
    return same_name(name[0], other[0]) and same_name(name[1], other[1])


def same_name(name: str, other: str) -> bool:
    """Servers may or may not tell capitals apart; two tables that differ in nothing else are taken for one.

    ``#mysql50#x`` may be a name by its file, or a table of just this name. To the servers a capital I with a dot is an
    i.
    """
    plain, others = (each.removeprefix(_BY_FILE).replace("\u0130", "i") for each in (name, other))
    return plain.lower() == others.lower() or plain.casefold() == others.casefold()


_CODE = re.compile(r"@00([0-7][0-9a-fA-F])")


def _plain(name: str) -> str:
    """``#mysql50#a@002db`` is the table a-b. Characters beyond ASCII have codes that are not known here."""
    if "@" in _CODE.sub("", name):
        raise NotUnderstood(f"{name[:60]!r} names a table by its file")
    return _CODE.sub(lambda found: chr(int(found[1], 16)), name)
