"""Dead letters that somebody has seen and accepts, each by name: a copy of lines of the state folder's own file.

A letter that is not among them counts, also one of the same row that came later: its Position is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import publish, writing
from whimbrel.errors import UserError
from whimbrel.item import key_id
from whimbrel.migration.dead import Letter, identity_of, plain_values, read_letters
from whimbrel.migration.digest_set import DigestSet
from whimbrel.records import Item, Value

LISTED = 10_000  # letters in the result of a command; all are in the file
MOST_NAMED = 3  # in a message
NAME = "waived.jsonl"  # in the state folder: what was waived at the last cutover or rollback


class Waivers:
    def __init__(self, letters: Iterable[Letter] = ()) -> None:
        self._letters, self._items, self._rows = DigestSet(), DigestSet(), DigestSet()
        for letter in letters:
            self._letters.add(identity_of(letter))
            self._rows.add(_digest(letter["table"], _text(letter["source_key"])))
            if letter["item_key"]:
                self._items.add(_digest(letter["table"], key_id(letter["item_key"])))

    def left(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Those that nobody has waived."""
        return (letter for letter in letters if identity_of(letter) not in self._letters)

    def of(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Those that somebody has waived."""
        return (letter for letter in letters if identity_of(letter) in self._letters)

    def has_item(self, tables: Iterable[str], key: Item) -> bool:
        """Whether a letter of the item is waived; ``tables`` are the names by which it may go."""
        return bool(self._items) and any(_digest(table, key_id(key)) in self._items for table in tables)

    def has_row(self, table: str, key: dict[str, Value]) -> bool:
        return bool(self._rows) and _digest(table, _text(plain_values(key))) in self._rows


NONE = Waivers()


def read_waivers(path: Path | str | None) -> Waivers:
    """None waives nothing. Raises UserError where the file is missing, StateError where it is not of dead letters."""
    if path is None:
        return Waivers()
    if not Path(path).is_file():
        hint = "Copy the lines of dead.jsonl, or reverse-dead.jsonl, that you accept."
        raise UserError("there is no such file", place=str(path), hint=hint)
    return Waivers(read_letters(Path(path)))


def note_waived(root: Path, letters: Iterable[Letter]) -> None:
    """Durable on return. Raises StateError."""
    with writing(root / NAME), (root / f"{NAME}.new").open("wb") as file:
        for letter in letters:
            file.write(orjson.dumps(letter) + b"\n")
        publish(file, root / NAME)


def read_waived(root: Path) -> tuple[dict[str, Any], ...]:
    """What was noted, shortly: the first LISTED."""
    names = ("table", "source_key", "item_key", "reason")
    return tuple({name: letter[name] for name in names} for letter in islice(read_letters(root / NAME), LISTED))


class NamedLetters(NamedTuple):
    """Letters as a message tells them: how many, and the first of them by name."""

    letters: int
    first: str

    def __str__(self) -> str:
        more = f" and {self.letters - MOST_NAMED:,} more" if self.letters > MOST_NAMED else ""
        return f"{self.first}{more}"


def named(letters: Iterable[Letter]) -> NamedLetters:
    count, first = 0, list[str]()
    for letter in letters:
        count += 1
        if count <= MOST_NAMED:
            first.append(f"{letter['table']} {_text(letter['item_key'] or letter['source_key']).decode()}")
    return NamedLetters(count, ", ".join(first))


def _digest(table: str, key: bytes) -> bytes:
    return blake2b(b"%s\0%s" % (table.encode(), key), digest_size=16).digest()


def _text(key: dict[str, Any]) -> bytes:
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS)
