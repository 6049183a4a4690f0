"""Reading one JSON object of a DMS file key by key, so that everything that is wrong with it is said at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Said(NamedTuple):
    """What is wrong with a file, and what is only to be known about it."""

    faults: list[str]
    notes: list[str]


class Fields:
    """One object of the file. ``place``, the rule and its part, begins each of its faults. null is as if absent."""

    def __init__(self, values: dict[str, Any], place: str, said: Said) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self.place = place
        self._said = said
        self._known: set[str] = set()

    def fault(self, key: str, reason: str) -> None:
        self._said.faults.append(f"{self.place}: {key} {reason}" if key else f"{self.place}: {reason}")

    def note(self, text: str) -> None:
        self._said.notes.append(f"{self.place}: {text}")

    def nothing(self) -> Fields:
        """An object without anything in it, in the same place."""
        return Fields({}, self.place, self._said)

    def skip(self, *keys: str) -> None:
        """Keys that are known and not needed."""
        self._known.update(keys)

    def has(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        return tuple(self._values)

    def any(self, key: str) -> Any:
        self._known.add(key)
        return self._values.get(key)

    def string(self, key: str, *, required: bool = False, empty: bool = False) -> str:
        """A text, or a number as it would be written; "" if it is absent."""
        value = self.any(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None or (value == "" and not empty):
            if required:
                self.fault(key, "is missing")
            return ""
        if not isinstance(value, str):
            self.fault(key, f"must be a string, not {shown(value)}")
            return ""
        if not _encodable(value):
            self.fault(key, f"has half a character in it: {value!a}")
            return ""
        return value

    def one_of(self, key: str, allowed: tuple[str, ...], default: str = "") -> str:
        """One of ``allowed``: also where that is at fault. Without a default it must be there."""
        value = self.string(key, required=not default) or default
        if value in allowed:
            return value
        if value:
            self.fault(key, f"must be {listed(allowed)}, not {value!r}{_near(value, allowed)}")
        return default or allowed[0]

    def truth(self, key: str, default: bool) -> bool:
        """true or false, also where they are written as texts."""
        value = self.any(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        self.fault(key, f"must be true or false, not {shown(value)}")
        return default

    def integer(self, key: str, default: int) -> int:
        """A whole number, also where it is written as a text; 0 or more."""
        value = self.any(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            return int(value)
        self.fault(key, f"must be a whole number, 0 or more, not {shown(value)}")
        return default

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.any(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) and _encodable(each) for each in value):
            self.fault(key, f"must be a list of strings, not {shown(value)}")
            return ()
        return tuple(value)

    def object(self, key: str, *, required: bool = False) -> Fields | None:
        value = self.any(key)
        if value is None:
            if required:
                self.fault(key, "is missing")
            return None
        if not isinstance(value, dict):
            self.fault(key, f"must be an object, not {shown(value)}")
            return None
        return Fields(value, f"{self.place}, {key}", self._said)

    def objects(self, key: str) -> Iterator[Fields]:
        value = self.any(key)
        if value is None:
            return
        if not isinstance(value, list):
            self.fault(key, f"must be a list, not {shown(value)}")
            return
        for number, each in enumerate(value, 1):
            if isinstance(each, dict):
                yield Fields(each, f"{self.place}, {key} {number}", self._said)
            else:
                self.fault(f"{key} {number}", f"must be an object, not {shown(each)}")

    def finish(self) -> None:
        """Name every key that nobody asked for: nothing in the file is silently ignored."""
        for key in self._values:
            if key not in self._known:
                self.fault(ascii(key), f"is not a parameter of this rule{_near(key, tuple(self._known))}")


def shown(value: object) -> str:
    """A value for a message, cut to a bearable length."""
    text = ascii(value) if isinstance(value, str) and not _encodable(value) else repr(value)
    if not _encodable(text):
        text = ascii(value)
    return text if len(text) <= 80 else f"{text[:70]}…"


def listed(words: tuple[str, ...]) -> str:
    return " or ".join(map(repr, words)) if len(words) < 3 else f"one of {', '.join(words)}"


def _near(word: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _encodable(text: str) -> bool:
    """Whether the text is Unicode: JSON can write one half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
