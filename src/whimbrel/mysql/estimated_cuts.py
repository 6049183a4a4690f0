"""Where a chunk may end, found without reading the index up to there.

To step over the rows of a chunk costs the server half of what it costs to read them, and more where keys are long
texts. Here a key is computed that lies between two known ones. The server says which row's key comes next, and
estimates how many rows lie before that.

A bound is always the key of a row, and greater than the bound before by the server's own comparison. So a wrong
estimate, or texts that are ordered in another way than is assumed, make a chunk larger or smaller, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from string import ascii_lowercase, ascii_uppercase, digits

from whimbrel.errors import SourceError, SourceUnreachable
from whimbrel.mysql.key_index import Key, KeyIndex
from whimbrel.records import Column, Value

LEAST_ROWS = 5_000  # of a chunk: to step over fewer costs no more than a few statements
FEWEST, MOST = 0.5, 1.5  # times the rows that a chunk is to have, which are taken for them
MANY = 4  # chunks: no estimate is more than half of the table, so of a table of fewer chunks they say too little
LEAST_CORRECTION = 0.5  # InnoDB doubles what it finds on a few pages; more than that is chance
TRIES = 8  # keys that are computed for one chunk
MOST_MISSES = 3  # chunks in a row for which no key was found, before all others are cut by stepping
WIDTH = 6  # characters or bytes that are computed, behind those that both keys have
PRINTABLE = "".join(map(chr, range(32, 127)))
BYTES = "".join(map(chr, range(256)))  # read as Latin-1
LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)  # no others: a character set may not have both
# Of keys, the smallest first: the fewer characters they may have, the better is what lies between them.
ALPHABETS = (
    digits,
    f"{digits}abcdef",
    f"{digits}ABCDEF",
    f"{digits}{ascii_lowercase}",
    f"{digits}{ascii_uppercase}",
    f"{digits}{ascii_uppercase}{ascii_lowercase}",
    PRINTABLE,
)


class EstimatedCuts:
    """Ends of chunks of about ``rows`` rows, of one table, one after the other."""

    def __init__(self, keys: KeyIndex, rows: int) -> None:
        self._keys, self._rows = keys, rows
        self._ahead: list[Key] = []  # keys behind the last end, the farthest first
        self._correction = 0.0  # rows that there were for each that was estimated; 0.0 before it is known
        self._misses = MOST_MISSES if rows < LEAST_ROWS else 0
        self._many = False  # whether there were so many chunks ahead that estimates can be believed

    def stepped(self, low: Key | None, high: Key) -> None:
        """``high`` is as many rows behind ``low`` as a chunk is to have: they were stepped over."""
        self._ahead.clear()  # whether these keys are greater than ``high``, nobody knows
        if self._misses < MOST_MISSES:
            with self._explained():
                self._correction = max(LEAST_CORRECTION, self._rows / max(1, self._keys.estimate(low, high)))

    def end_behind(self, low: Key) -> Key | None:
        """None where it has to be found by stepping, as near the end of the table."""
        if self._misses < MOST_MISSES and self._correction:
            with self._explained():
                return self._end_behind(low)
        return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Without estimates, as behind a proxy that knows no EXPLAIN, chunks are cut by stepping. So they are if a
        computed text has a character that the column's character set does not have.
        """
        try:
            yield
        except SourceUnreachable:
            raise
        except (SourceError, UnicodeEncodeError):
            self._misses = MOST_MISSES

    def _end_behind(self, low: Key) -> Key | None:
        while self._ahead and (up_to := self._up_to(low, self._ahead[-1])) < FEWEST:
            self._ahead.pop()
        if not self._ahead:
            last = self._keys.last(low, ())
            if not last or (up_to := self._up_to(low, last)) <= MOST:
                return None
            if not self._many and up_to < MANY:
                self._misses = MOST_MISSES
                return None
            self._many = True
            self._ahead.append(last)
        self._misses += 1
        if end := self._found(low, up_to):
            self._misses = 0
        return end

    def _found(self, low: Key, up_to: float) -> Key | None:
        """A key that is about as many rows ahead as it should be: the nearest that is known, which is ``up_to`` chunks
        ahead, or one before that.
        """
        left, before, right, power = low, 0.0, self._ahead[-1], 1
        for _ in range(TRIES):
            if up_to <= MOST:
                return self._keys.first(low, self._ahead.pop())
            start = self._between(left, right, ((1 - before) / (up_to - before)) ** power)
            if not start:
                return None
            if not (key := self._keys.first(left, start, right)):
                right, power = start, power + 1  # no row lies between them
            elif (rows := self._up_to(low, key)) < FEWEST:
                left, before, power = key, rows, 1
            else:
                power = power + 1 if rows > up_to / 2 else 1  # rows are dense at the front: a much shorter way
                right, up_to = key, rows
                self._ahead.append(key)
        return None

    def _between(self, left: Key, right: Key, part: float) -> Key | None:
        """At about this part of the way from ``left`` to ``right``: a key, or the beginning of one."""
        column = _alike(left, right)
        if column == len(right):
            return None
        value = value_between(self._keys.columns[column], left[column], right[column], part)
        if value is None:
            return None
        start = (*left[:column], value)
        # Many rows have these values in common: the end of these rows.
        return self._keys.last(left, start) if value == left[column] else start

    def _up_to(self, low: Key | None, key: Key) -> float:
        """How many chunks there are, by an estimate, between ``low`` and ``key``."""
        return self._keys.estimate(low, key) * self._correction / self._rows


def value_between(column: Column, left: Value, right: Value, part: float) -> Value | None:
    """The value at this part of the way from ``left`` to ``right``; None where it is not known how they are ordered."""
    if isinstance(left, int) and isinstance(right, int):
        return left + int((right - left) * part) if left < right else None
    if column.kind == "binary" and isinstance(left, bytes) and isinstance(right, bytes):
        between = _text_between(left.decode("latin-1"), right.decode("latin-1"), [BYTES], part)
        return None if between is None else between.encode("latin-1")
    if column.kind == "text" and isinstance(left, str) and isinstance(right, str):
        if column.collation.endswith("_ci"):
            left, right = left.translate(LOWER), right.translate(LOWER)
        return _text_between(left, right, ALPHABETS, part)
    return None


def _text_between(left: str, right: str, alphabets: Sequence[str], part: float) -> str | None:
    """In the order of the first alphabet that has the characters in which they differ, and those after these."""
    same = _alike(left, right)
    tails = left[same : same + WIDTH], right[same : same + WIDTH]
    alphabet = next((each for each in alphabets if set("".join(tails)) <= set(each)), "")
    if not alphabet:
        return None
    low, high = (_number(tail, alphabet) for tail in tails)
    if low >= high:
        return None
    number = low + int((high - low) * part)
    return left if number == low else left[:same] + _characters(number, alphabet)


def _alike(left: Sequence[object], right: Sequence[object]) -> int:
    """How many are the same at the front of both."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _number(text: str, alphabet: str) -> int:
    number = 0
    for character in text.ljust(WIDTH, alphabet[0]):
        number = number * len(alphabet) + alphabet.index(character)
    return number


def _characters(number: int, alphabet: str) -> str:
    characters = []
    for _ in range(WIDTH):
        number, code = divmod(number, len(alphabet))
        characters.append(alphabet[code])
    return "".join(reversed(characters))
