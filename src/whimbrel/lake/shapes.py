"""The keys of items in a full export, without parsing what else they have: most items of a table have the same names,
with the same types.

Of such a shape a pattern is made, in which the names stand as they are. A line that it takes has each of them once, and
its values are checked by the pattern. So nothing is left that parsing could find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import orjson

from whimbrel.lake.items import BASE64, NUMBER_TEXT
from whimbrel.records import Item

MOST_SHAPES = 8  # of a table: each is tried on a line that has none of those before it
_MOST_ATTRIBUTES, _MOST_BYTES = 100, 4_096  # of a pattern's names
_FRAME = slice(len(b'{"Item":'), -len(b"}"))
# As JSON has them, but for escapes by number, of which not every one is a character.
_KEY_TEXT = rb'"[^"\\\x00-\x1f]*+"'
_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+"'
_VALUES = {"S": _TEXT, "N": NUMBER_TEXT, "B": BASE64, "BOOL": b"(?:true|false)", "NULL": b"true"}
_KEY_VALUES = {"S": _KEY_TEXT, "N": NUMBER_TEXT, "B": BASE64}

_Match = Callable[[bytes], "re.Match[bytes] | None"]


class Shapes:
    """Those seen so far of a table whose key's attributes are ``key``."""

    def __init__(self, key: Sequence[str]) -> None:
        self._key = key
        self._known = set[tuple[tuple[str, str], ...]]()
        self._matches = list[tuple[_Match, bytes, list[int]]]()  # the one that matched last is the first

    def read(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The JSON of the item's key, names in order, and that of the item in a line, if it is of a known shape. None
        says nothing.
        """
        for place, (match, key, groups) in enumerate(self._matches):
            if found := match(line):
                if place:
                    self._matches.insert(0, self._matches.pop(place))
                if not line.isascii() and not _is_unicode(line):
                    return None
                return key % found.group(*groups), line[_FRAME]
        return None

    def learn(self, item: Item) -> None:
        """Know the shape of a line that had to be parsed, unless it has other values than scalars."""
        if len(self._known) == MOST_SHAPES or len(item) > _MOST_ATTRIBUTES:
            return
        shape = tuple((name, tag) for name, value in item.items() for tag in value)
        if shape in self._known or not self._can_be_known(shape):
            return
        self._known.add(shape)
        places = [name for name, _ in shape if name in self._key]
        key = [(name, tag) for name, tag in sorted(shape) if name in self._key]
        text = b"{%b}" % b",".join(_head(name, tag).replace(b"%", b"%%") + b"%b}" for name, tag in key)
        groups = [1 + places.index(name) for name, _ in key]
        self._matches.append((self._pattern(shape).fullmatch, text, groups))

    def _can_be_known(self, shape: Sequence[tuple[str, str]]) -> bool:
        return (
            all(tag in (_KEY_VALUES if name in self._key else _VALUES) for name, tag in shape)
            and set(self._key) <= {name for name, _ in shape}
            and sum(len(name) for name, _ in shape) <= _MOST_BYTES
        )

    def _pattern(self, shape: Sequence[tuple[str, str]]) -> re.Pattern[bytes]:
        values = [b"(%b)" % _KEY_VALUES[tag] if name in self._key else _VALUES[tag] for name, tag in shape]
        heads = [re.escape(_head(name, tag)) for name, tag in shape]
        attributes = b",".join(head + value + rb"\}" for head, value in zip(heads, values, strict=True))
        return re.compile(rb'\{"Item":\{' + attributes + rb"\}\}")


def _head(name: str, tag: str) -> bytes:
    """What stands before an attribute's value."""
    return orjson.dumps(name) + b':{"%b":' % tag.encode()


def _is_unicode(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
