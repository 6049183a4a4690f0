"""Reading a TOML document key by key, so that everything that is wrong with it is said at once."""

from __future__ import annotations

import math
import re
from typing import Any

NO_USER = "has a user or password in it, and it would be shown in messages; take them out"

LONGEST_NAME = 200  # bytes: what is made of a name, such as ``<name>.parquet.part``, must fit into 255


def is_plain_name(name: str) -> bool:
    """True if the name is one step of a path that leads down, and not a hidden one."""
    if not name or name[0] == "." or "/" in name or not name.isprintable():
        return False
    return len(name.encode("utf-8", "surrogateescape")) <= LONGEST_NAME


def without_password(text: str) -> str:
    """``text`` with everything that may be a password in a URL left out, however the URL is written."""
    text = re.sub(r"(//[^:/@\s]*:).*@", r"\1…@", text)  # user:password@host, the password with any characters
    text = re.sub(r"^(\s*\w*:/?)(?!/).*@", r"\1…@", text)  # one slash, or none
    # The host was forgotten: what stands there instead of a port.
    return re.sub(r"(//[^:/@\s\[]*:)(?!\d+(?:\D|$))[^\s@…]+", r"\1…", text)


class Section:
    """One TOML table that is read key by key; what is wrong with it goes to ``faults``."""

    def __init__(self, values: dict[str, Any], place: str, faults: list[str]) -> None:
        self._values = values
        self._place = place
        self._faults = faults
        self._known: list[str] = []

    def fault(self, key: str, reason: str) -> None:
        self._faults.append(f"{self._place}{key}: {without_password(reason)}")

    def has(self, key: str) -> bool:
        return key in self._values

    def section(self, key: str) -> Section:
        value = self._take(key, {}, dict, "a table")
        return Section(value, f"{self._place}{key}.", self._faults)

    def optional_sections(self, key: str) -> list[Section]:
        """One for each ``[[key]]``; none where the document has none."""
        values = self._take(key, [], list, f"written as [[{key}]]")
        for number, value in enumerate(values, 1):
            if not isinstance(value, dict):
                self.fault(f"{key} {number}", f"must be written as [[{key}]], not {value!r}")
        return [
            Section(value, f"{self._place}{key} {value.get('source') or value.get('name') or number}: ", self._faults)
            for number, value in enumerate(values, 1)
            if isinstance(value, dict)
        ]

    def is_list(self, key: str) -> bool:
        return isinstance(self._values.get(key), list)

    def is_table(self, key: str) -> bool:
        return isinstance(self._values.get(key), dict)

    def any_map(self, key: str) -> dict[str, Any]:
        """A table of whatever; the caller checks what is in it."""
        return dict(self._take(key, {}, dict, "a table"))

    def known(self, key: str) -> None:
        """A key of which something else was said already."""
        self._known.append(key)

    def truth(self, key: str) -> bool:
        """False where it is missing."""
        self._known.append(key)
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false, not {value!r}")
            return False
        return value

    def string(self, key: str, default: str) -> str:
        value = str(self._take(key, default, str, "a string"))
        if "\0" in value:
            self.fault(key, "has a NUL character")
            return default
        return value

    def address(self, key: str) -> str:
        """A URL without a user or password: it is shown in messages. "" where it is missing."""
        url = self.string(key, "")
        if "@" in url:
            self.fault(key, NO_USER)
            return ""
        return url

    def required(self, key: str) -> str:
        value = self.string(key, "")
        if not value and (key not in self._values or self._values[key] == ""):
            self.fault(key, "is missing")
        return value

    def folder_name(self, key: str) -> str:
        """As ``required``: what a folder, and a part of keys in S3, is called."""
        name = self.required(key)
        if name and not is_plain_name(name):
            said = f"must be {LONGEST_NAME} printable bytes at most, without '/' and no '.' in front"
            self.fault(key, f"{said}, not {name!r}")
        return name

    def strings(self, key: str) -> list[str]:
        values = self._take(key, [], list, "a list of strings")
        if not all(isinstance(value, str) for value in values):
            self.fault(key, f"must be a list of strings, not {values!r}")
            return []
        return list(values)

    def string_map(self, key: str, allowed: tuple[str, ...] = ()) -> dict[str, str]:
        values = self._take(key, {}, dict, "a table of strings")
        for name, value in values.items():
            if not isinstance(value, str) or (allowed and value not in allowed):
                self.fault(f"{key}.{name}", f"must be {_listed(allowed) if allowed else 'a string'}, not {value!r}")
        return {name: value for name, value in values.items() if isinstance(value, str)}

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """The first of ``allowed`` is the default."""
        value = self.string(key, allowed[0])
        if value not in allowed:
            self.fault(key, f"must be {_listed(allowed)}, not {value!r}")
            return allowed[0]
        return value

    def integer(self, key: str, default: int, least: int = 0) -> int:
        value = self._take(key, default, int, "a whole number")
        if value < least:
            self.fault(key, f"must be {least} or more, not {value}")
        return int(value)

    def number(self, key: str, default: float) -> float:
        value = self._take(key, default, (int, float), "a number")
        if not 0 <= value < math.inf:
            self.fault(key, f"must be 0 or more, not {value}")
            return default
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        self._known.append(key)
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false, not {value!r}")
            return default
        return value

    def finish(self) -> None:
        """Name every key that nobody asked for: a misspelt setting must not be ignored."""
        for key in self._values:
            if key not in self._known:
                import difflib

                near = difflib.get_close_matches(key, self._known, 1)
                self.fault(key, "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], described: str) -> Any:
        self._known.append(key)
        value = self._values.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fault(key, f"must be {described}, not {value!r}")
            return default
        return value


def _listed(allowed: tuple[str, ...]) -> str:
    return " or ".join(repr(word) for word in allowed)
