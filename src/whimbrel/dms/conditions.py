"""DynamoDB condition expressions, as far as a migration needs them: what one says about an item that is not there yet.

During the full load the target has no items of ours, so a condition is put to an absent item each time: it either holds
for every row (and changes nothing), or for none (and nothing would be loaded).
The grammar is that of the DynamoDB developer guide, "Condition and filter expressions, operators, and functions".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from whimbrel.dms.fields import shown

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[#:]?[A-Za-z_][A-Za-z0-9_]*|[#:][A-Za-z0-9_]+)|(?P<sign><>|<=|>=|[=<>(),.])|(?P<index>\[\d+\]))"
)
_KEYWORDS = {"AND", "OR", "NOT", "IN", "BETWEEN"}
_TESTS = {  # functions that are conditions, how many operands they take, and what each says of what is not there
    "attribute_exists": (1, False),
    "attribute_not_exists": (1, True),
    "attribute_type": (2, False),
    "begins_with": (2, False),
    "contains": (2, False),
}
_COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
MAX_DEPTH = 100


class NotACondition(Exception):
    """``str()`` says where the expression goes wrong."""


class Verdict(NamedTuple):
    """``holds`` on an item that is not there; ``used`` are the placeholders and names that the expression mentions."""

    holds: bool
    used: frozenset[str]


def on_absent_item(expression: str) -> Verdict:
    """Raises NotACondition if it cannot be read."""
    reader = _Reader(_tokens(expression))
    holds = reader.any_of()
    if reader.now:
        raise NotACondition(f"{reader.now!r} stands where it should have ended")
    return Verdict(holds, frozenset(reader.used))


def unused(used: Collection[str], defined: Collection[str]) -> list[str]:
    """The faults of placeholders: DynamoDB refuses those that are not defined, and those that are not used."""
    mentioned = {word for word in used if word[0] in "#:"}
    missing = [f"uses {word}, which is not defined" for word in sorted(mentioned - set(defined))]
    return missing + [f"does not use {word}, which is defined" for word in sorted(set(defined) - mentioned)]


def _tokens(expression: str) -> list[str]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKEN.match(expression, at)
        if not match:
            raise NotACondition(f"cannot be read at {shown(expression[at : at + 20])}")
        found.append(match[0].strip())
        at = match.end()
    if not found:
        raise NotACondition("is empty")
    return found


class _Reader:
    """Reads by recursive descent, and says of each part what it is on an absent item."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self.used: set[str] = set()

    @property
    def now(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def any_of(self) -> bool:
        holds = self._all_of()
        while self._takes("OR"):
            holds = self._all_of() or holds
        return holds

    def _all_of(self) -> bool:
        holds = self._one()
        while self._takes("AND"):
            holds = self._one() and holds
        return holds

    def _one(self) -> bool:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotACondition("is nested too deeply")
        try:
            if self._takes("NOT"):
                return not self._one()
            if self._takes("("):
                holds = self.any_of()
                self._needs(")")
                return holds
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> bool:
        if self.now in _TESTS:
            operands, holds = _TESTS[self.now]
            self._at += 1
            self._needs("(")
            self._operand()
            for _ in range(operands - 1):
                self._needs(",")
                self._operand()
            self._needs(")")
            return holds
        return self._comparison()

    def _comparison(self) -> bool:
        """A comparison with what is not there does not hold; nor would one of constants depend on any item."""
        of_item = self._operand()
        if self.now in _COMPARISONS:
            self._at += 1
            of_item = self._operand() or of_item
        elif self._takes("BETWEEN"):
            of_item = self._operand() or of_item
            self._needs("AND")
            of_item = self._operand() or of_item
        elif self._takes("IN"):
            self._needs("(")
            of_item = self._operand() or of_item
            while self._takes(","):
                of_item = self._operand() or of_item
            self._needs(")")
        else:
            raise NotACondition(f"has {self.now or 'its end'!r} where a comparison was expected")
        if not of_item:
            raise NotACondition("compares constants only, which DynamoDB refuses")
        return False

    def _operand(self) -> bool:
        """Whether the operand is a part of the item."""
        word = self.now
        if word == "size":
            self._at += 1
            self._needs("(")
            self._operand()
            self._needs(")")
            return True
        if not re.match(r"[#:]?\w", word) or word.upper() in _KEYWORDS:
            raise NotACondition(f"has {word or 'its end'!r} where a name or a value was expected")
        self._at += 1
        self.used.add(word)
        if word.startswith(":"):
            return False
        self._path()
        return True

    def _path(self) -> None:
        while self.now == "." or self.now.startswith("["):
            step = self.now
            self._at += 1
            if step == ".":
                self.used.add(self.now)
                self._at += 1

    def _takes(self, word: str) -> bool:
        taken = self.now.upper() == word
        self._at += taken
        return taken

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            raise NotACondition(f"has {self.now or 'its end'!r} where {sign!r} was expected")
