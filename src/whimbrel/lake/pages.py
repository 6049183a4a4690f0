"""What ``aws dynamodb scan`` and ``query`` print: ``{"Items": […], "Count": 2, …}``, one such document or several
behind one another (one for each page or segment), over any number of lines. Also a list of items (by ``--query``).

A document can be of any size and is not held: its items are cut out one by one. How many there are is compared with the
``Count``, and the last document must not say that there is more. Files that are numbered must be so without a gap.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

from whimbrel.errors import LogCorrupt, UserError
from whimbrel.lake.items import BadLine, load_json
from whimbrel.lake.lines import MAX_LINE, UTF8_MARK, opened

_BLOCK = 1 << 20
_MORE = ("LastEvaluatedKey", "NextToken")
_KNOWN = {"Items", "Count", "ScannedCount", "ConsumedCapacity", "ResponseMetadata", *_MORE}
_START = re.compile(
    rb"""\s*(?: \[\s*(?:\{|\]\s*\Z)
          | \{\s*"Items"\s*:\s*\[
          | \{\s*"(?:Count|ScannedCount)"\s*:\s*\d
          | \{\s*"ConsumedCapacity"\s*:\s*(?:null|\{\s*"TableName"\s*:\s*"))""",
    re.VERBOSE,
)
_SIGN, _WORD_END = re.compile(rb"[^ \t\r\n]"), re.compile(rb"[ \t\r\n,\]}:]")
_OUTSIDE, _INSIDE = re.compile(rb'["\[\]{}]'), re.compile(rb'["\\]')


_NUMBERED = re.compile(r"(.*\D|)(\d+)(\D*)", re.ASCII | re.DOTALL)


class Element(NamedTuple):
    """One item's text and the line that it begins in; cut off after ``MAX_LINE`` bytes."""

    line: int
    text: bytes


def looks_like(head: bytes) -> bool:
    """By the beginning of a file."""
    return _START.match(head) is not None


def read(path: Path) -> Iterator[Element]:
    """Every item. Raises StateError where the file is damaged or not what its documents say."""
    for document in _documents(path):
        yield from document


def check(files: Iterable[Path]) -> None:
    """Read the structure of all files. Raises UserError when none of them reaches the end of its table, or when one of
    those that are numbered is missing.
    """
    files, ended, last = list(files), [], Path()
    _check_numbers(files)
    for path in files:
        last, more = path, False
        for document in _documents(path):
            for _ in document:
                pass
            more = document.more
        ended.append(not more)
    if ended and not any(ended):
        hint = "Run it again without --max-items or --no-paginate, or append the remaining pages."
        message = "the output ends before the table does (it has LastEvaluatedKey or NextToken)"
        raise UserError(message, place=str(last), hint=hint)


def _check_numbers(files: Sequence[Path]) -> None:
    """No page says which one it follows, so only its number can show that one is missing between two others. Numbers
    that do not begin with 0 or 1 are of something else, as dates are.
    """
    numbered: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in files:
        if found := _NUMBERED.fullmatch(path.name):
            numbered[str(path.parent / found[1]), found[3]][int(found[2])] = path
    for pages in numbered.values():
        first = min(pages)
        missing = next(number for number in count(first) if number not in pages)
        if first <= 1 and missing < max(pages):
            after = pages[missing - 1]
            name = _NUMBERED.sub(rf"\g<1>{missing:0{_width(after)}}\g<3>", after.name)
            hint = "Add the missing file; if none is missing, number the files without gaps."
            raise UserError(f"{name} is missing, and {pages[max(pages)].name} is there", place=str(after), hint=hint)


def _width(path: Path) -> int:
    found = _NUMBERED.fullmatch(path.name)
    assert found
    return len(found[2]) if found[2].startswith("0") else 1


def _documents(path: Path) -> Iterator[_Document]:
    cursor = _Cursor(path)
    with opened(path, lambda: f"line {cursor.line}") as file:
        cursor.file, continued = file, False
        while cursor.peek():
            document = _Document(cursor, continued)
            yield document
            continued = continued or document.more


class _Document:
    """Iterate it to its end; then ``more`` says if the table continues after it."""

    def __init__(self, cursor: _Cursor, continued: bool) -> None:
        self._cursor, self._continued, self.more = cursor, continued, False
        self._seen = 0
        self._count: int | None = None

    def __iter__(self) -> Iterator[Element]:
        cursor = self._cursor
        if cursor.peek() == b"[":
            yield from self._items()
            return
        cursor.take(b"{")
        names: set[str] = set()
        while True:
            name = cursor.name()
            if name not in _KNOWN or name in names:
                raise cursor.broken(f"{name!r} {'occurs twice' if name in names else 'is not part of scan output'}")
            names.add(name)
            cursor.take(b":")
            if name == "Items":
                yield from self._items()
            else:
                self._note(name)
            if cursor.take(b",}") == b"}":
                break
        if "Items" not in names:
            raise cursor.broken("a document without Items")
        # The CLI cuts pages for --max-items and --starting-token, and counts the whole of them.
        cut = (self.more or self._continued) and self._seen < (self._count or 0)
        if self._count is not None and self._count != self._seen and not cut:
            raise cursor.broken(f"its Count is {self._count}, and it has {self._seen} items")

    def _items(self) -> Iterator[Element]:
        cursor = self._cursor
        cursor.take(b"[")
        if cursor.peek() == b"]":
            cursor.take(b"]")
            return
        while True:
            cursor.peek()
            line = cursor.line
            self._seen += 1
            yield Element(line, cursor.value())
            if cursor.take(b",]") == b"]":
                return

    def _note(self, name: str) -> None:
        value = self._cursor.json()
        if name == "Count":
            if type(value) is not int:
                raise self._cursor.broken(f"its Count is {value!r}")
            self._count = value
        self.more = self.more or (name in _MORE and value is not None)


class _Cursor:
    """A place in the text, which is read block by block; ``line`` is where that is."""

    def __init__(self, path: Path) -> None:
        self._path, self.line = path, 1
        self.file: IO[bytes]
        self._text, self._at, self._begun = b"", 0, False

    def peek(self) -> bytes:
        """The next byte that is not blank, which stays; b"" at the end."""
        while True:
            found = _SIGN.search(self._text, self._at)
            self._pass((found.start() if found else len(self._text)) - self._at)
            if found:
                return found.group()
            if not self._fill():
                return b""

    def take(self, wanted: bytes) -> bytes:
        """The next byte that is not blank, which must be one of these."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.broken(f"{found.decode('ascii', 'replace')!r} where one of {wanted.decode()!r} is expected")
        self._pass(1)
        return found

    def name(self) -> str:
        if self.peek() != b'"':
            raise self.broken("a name must stand here")
        return str(self.json())

    def json(self) -> Any:
        try:
            return load_json(self.value())
        except BadLine as error:
            raise self.broken(str(error)) from None

    def value(self) -> bytes:
        """The text of one value: to the bracket that closes it, or to the end of a string or a word. Of one that is too
        long only the beginning.
        """
        held, depth, quoted = bytearray(), 0, False
        first = self.peek()
        if first not in b'{["':
            return self._word()
        while True:
            found = (_INSIDE if quoted else _OUTSIDE).search(self._text, self._at)
            if found is None or (found.group() == b"\\" and found.end() == len(self._text)):
                end = found.start() if found else len(self._text)
                self._hold(held, end)
                if not self._fill():
                    raise self.broken("the file ends in the middle of a value")
                continue
            sign = found.group()
            self._hold(held, found.end() + (sign == b"\\"))
            if sign == b'"':
                quoted = not quoted
            elif sign in b"{[":
                depth += 1
            elif sign in b"}]":
                depth -= 1
            if not depth and not quoted:
                return bytes(held)

    def broken(self, reason: str) -> LogCorrupt:
        place = f"{self._path}, line {self.line}"
        return LogCorrupt(f"not the output of a scan: {reason}", place=place, hint="Write it again, as JSON.")

    def _word(self) -> bytes:
        held = bytearray()
        while True:
            found = _WORD_END.search(self._text, self._at)
            self._hold(held, found.start() if found else len(self._text))
            if found or not self._fill():
                return bytes(held)

    def _hold(self, held: bytearray, end: int) -> None:
        held += self._text[self._at : min(end, self._at + MAX_LINE + 1 - len(held))]
        self._pass(end - self._at)

    def _pass(self, count: int) -> None:
        self.line += self._text.count(b"\n", self._at, self._at + count)
        self._at += count

    def _fill(self) -> bool:
        """Read on; what is behind the place stays. False at the end of the file."""
        block = self.file.read(_BLOCK)
        self._text, self._at = self._text[self._at :] + (block if self._begun else block.removeprefix(UTF8_MARK)), 0
        self._begun = True
        return bool(block)
