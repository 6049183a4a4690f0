"""DynamoDB condition expressions, as far as a migration needs them: what one says about an item of which it is known
which attributes it has.

Every change is put under the same condition, to whatever stands under its key: nothing, an item that this mapping
wrote, or one that somebody else wrote or wrote to. Of the first two the condition must hold, whatever their values are.
Then what it holds back is what somebody else protects, and nothing else: a replay ends in the same items, and so does a
snapshot that read the rows at other moments.

The grammar is that of the DynamoDB developer guide, "Condition and filter expressions, operators, and functions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from whimbrel.mapping.forms import shown

Truth = bool | None  # None: it may be so or not

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[#:]?[A-Za-z_][A-Za-z0-9_]*|[#:][A-Za-z0-9_]+)|(?P<sign><>|<=|>=|[=<>(),.])|(?P<index>\[\d+\]))"
)
_KEYWORDS = {"AND", "OR", "NOT", "IN", "BETWEEN"}
_TESTS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}
_COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
MAX_DEPTH = 100


class NotACondition(Exception):
    """``str()`` says where the expression goes wrong."""


class Verdict(NamedTuple):
    """Whether it holds; ``used`` are the placeholders and names that the expression mentions."""

    holds: Truth
    used: frozenset[str]


def on_item(expression: str, names: Mapping[str, str], has: Callable[[str], Truth]) -> Verdict:
    """``has`` says of a top-level attribute whether the item has it, whatever its value is; ``names`` are those of the
    placeholders. Raises NotACondition if the expression cannot be read.
    """
    reader = _Reader(_tokens(expression), lambda word: has(names.get(word, word)))
    holds = reader.any_of()
    if reader.now:
        raise NotACondition(f"{reader.now!r} stands where it should have ended")
    return Verdict(holds, frozenset(reader.used))


def on_absent_item(expression: str) -> Verdict:
    """Raises NotACondition if it cannot be read."""
    return on_item(expression, {}, lambda _: False)


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


class _Operand(NamedTuple):
    """``there``: whether it has a value; a constant always has."""

    there: Truth
    of_item: bool


class _Reader:
    """Reads by recursive descent, and says of each part what it is on the item."""

    def __init__(self, tokens: list[str], has: Callable[[str], Truth]) -> None:
        self._tokens = tokens
        self._has = has
        self._at = 0
        self._depth = 0
        self.used: set[str] = set()

    @property
    def now(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    @property
    def _here(self) -> str:
        return repr(self.now) if self.now else "its end"

    def any_of(self) -> Truth:
        holds = [self._all_of()]
        while self._takes("OR"):
            holds.append(self._all_of())
        return True if True in holds else None if None in holds else False

    def _all_of(self) -> Truth:
        holds = [self._one()]
        while self._takes("AND"):
            holds.append(self._one())
        return False if False in holds else None if None in holds else True

    def _one(self) -> Truth:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotACondition("is nested too deeply")
        try:
            if self._takes("NOT"):
                return _not(self._one())
            if self._takes("("):
                holds = self.any_of()
                self._needs(")")
                return holds
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Truth:
        name = self.now
        if name not in _TESTS:
            return self._comparison()
        self._at += 1
        self._needs("(")
        operands = [self._operand()]
        for _ in range(_TESTS[name] - 1):
            self._needs(",")
            operands.append(self._operand())
        self._needs(")")
        there = operands[0].there
        if name == "attribute_exists":
            return there
        if name == "attribute_not_exists":
            return _not(there)
        return False if there is False else None

    def _comparison(self) -> Truth:
        """A comparison with what is not there does not hold, but that it is something else does."""
        operands = [self._operand()]
        sign = self.now
        if sign in _COMPARISONS:
            self._at += 1
            operands.append(self._operand())
        elif self._takes("BETWEEN"):
            operands.append(self._operand())
            self._needs("AND")
            operands.append(self._operand())
        elif self._takes("IN"):
            self._needs("(")
            operands.append(self._operand())
            while self._takes(","):
                operands.append(self._operand())
            self._needs(")")
        else:
            raise NotACondition(f"has {self._here} where a comparison was expected")
        if not any(operand.of_item for operand in operands):
            raise NotACondition("compares constants only, which DynamoDB refuses")
        if sign in _COMPARISONS:
            operands.sort(key=lambda operand: not operand.of_item)
        constants = [operand for operand in operands if not operand.of_item]
        if operands[0].there is not False or len(constants) < len(operands) - 1:
            return None
        return sign == "<>"

    def _operand(self) -> _Operand:
        word = self.now
        if word == "size":
            self._at += 1
            self._needs("(")
            inside = self._operand()
            self._needs(")")
            return _Operand(False if inside.there is False else None, True)
        if not re.match(r"[#:]?\w", word) or word.upper() in _KEYWORDS:
            raise NotACondition(f"has {self._here} where a name or a value was expected")
        self._at += 1
        self.used.add(word)
        if word.startswith(":"):
            return _Operand(True, False)
        there = self._has(word)
        return _Operand(None if self._path() and there is not False else there, True)

    def _path(self) -> bool:
        """Whether the operand is within an attribute: that the attribute is there says nothing of it then."""
        begun = self._at
        while self.now == "." or self.now.startswith("["):
            step = self.now
            self._at += 1
            if step == ".":
                self.used.add(self.now)
                self._at += 1
        return self._at > begun

    def _takes(self, word: str) -> bool:
        taken = self.now.upper() == word
        self._at += taken
        return taken

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            raise NotACondition(f"has {self._here} where {sign!r} was expected")


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth
