"""Dead letters that somebody has seen and accepts, each by name: a copy of lines of the state folder's own file.

A letter that is not among them counts, also one of the same row that came later: its Position is another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, writing
from whimbrel.errors import UserError
from whimbrel.item import key_id
from whimbrel.migration.dead import Letter, identity_of, plain_values, read_letters
from whimbrel.records import Item, Value

NAME = "waived.jsonl"  # in the state folder: what was waived at the last cutover or rollback


class Waivers:
    def __init__(self, letters: Iterable[Letter] = ()) -> None:
        self._letters = {identity_of(letter): letter for letter in letters}
        self._items = {_place(each["table"], each["item_key"]) for each in self._letters.values() if each["item_key"]}
        self._rows = {(each["table"], _text(each["source_key"])) for each in self._letters.values()}

    def left(self, letters: Iterable[Letter]) -> list[Letter]:
        """Those that nobody has waived."""
        return [letter for letter in letters if identity_of(letter) not in self._letters]

    def of(self, letters: Iterable[Letter]) -> list[Letter]:
        """Those that somebody has waived."""
        return [letter for letter in letters if identity_of(letter) in self._letters]

    def has_item(self, tables: Iterable[str], key: Item) -> bool:
        """Whether a letter of the item is waived; ``tables`` are the names by which it may go."""
        return any(_place(table, key) in self._items for table in tables)

    def has_row(self, table: str, key: dict[str, Value]) -> bool:
        return (table, _text(plain_values(key))) in self._rows


NONE = Waivers()


def read_waivers(path: Path | str | None) -> Waivers:
    """None waives nothing. Raises UserError where the file is missing, StateError where it is not of dead letters."""
    if path is None:
        return Waivers()
    if not Path(path).is_file():
        hint = "Copy the lines of dead.jsonl, or reverse-dead.jsonl, that you accept."
        raise UserError("there is no such file", place=str(path), hint=hint)
    return Waivers(read_letters(Path(path)))


def note_waived(root: Path, letters: list[Letter]) -> None:
    """Durable on return. Raises StateError."""
    with writing(root / NAME):
        replace_file(root / NAME, b"".join(orjson.dumps(letter) + b"\n" for letter in letters))


def read_waived(root: Path) -> tuple[dict[str, Any], ...]:
    """What was noted, shortly."""
    names = ("table", "source_key", "item_key", "reason")
    return tuple({name: letter[name] for name in names} for letter in read_letters(root / NAME))


def named(letters: list[Letter], most: int = 3) -> str:
    """In words, the first of them."""
    said = [f"{letter['table']} {_text(letter['item_key'] or letter['source_key'])}" for letter in letters[:most]]
    more = f" and {len(letters) - most:,} more" if len(letters) > most else ""
    return f"{', '.join(said)}{more}"


def _place(table: str, key: Item) -> tuple[str, bytes]:
    return table, key_id(key)


def _text(key: dict[str, Any]) -> str:
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
