"""The texts of templates, said a second time: see oracle.py."""

from __future__ import annotations

import hashlib
import re

from whimbrel.records import Row, Table, Value


class NoPlace(Exception):
    """The row has no key or no entry name."""


class Unfit(NoPlace):
    """A format cannot carry the row's value."""


REFERENCE = re.compile(r"\$\$|\$\{(\w+)(%[0-9]+)?(?::(?!-)([^:}]*))?(?::-([^}]*))?\}")


def said_in(name: str, template: str) -> bool:
    """Whether the column's value can be read from the template's text: a remainder, say, does not tell it."""
    found = [match for match in REFERENCE.finditer(template) if match[1] == name]
    return any(not match[2] and not re.match("lower|upper|bucket", match[3] or "") for match in found)


def rendered(template: str, table: Table, row: Row, *, in_key: bool = False) -> str:
    """Where a text stands for NULL, the ``in_key`` cannot have that very text otherwise."""
    values = dict(zip(table.names, row, strict=True))
    for match in REFERENCE.finditer(template):
        if match[1] and values[match[1]] is None and match[4] is None:
            raise NoPlace

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, remainder, form, default = match.groups()
        if values[name] is None:
            return str(default)
        kind = table.column(name).kind
        if in_key and repr(values[name]) == "-0.0" and kind in ("float", "double"):
            raise Unfit  # the source takes it for 0.0
        text = formatted(remainder or form or "", kind, values[name])
        if in_key and text == default and said_in(name, match[0]):
            raise Unfit
        return text

    return REFERENCE.sub(one, template)


def formatted(form: str, kind: str, value: Value) -> str:
    """The few formats that the strategies draw, in other words than whimbrel's."""
    if match := re.fullmatch("0([0-9]+)d", form):
        if not isinstance(value, int) or value < 0 or len(str(value)) > int(match[1]):
            raise Unfit
        return str(value).rjust(int(match[1]), "0")
    text = text_of(kind, value)
    if form == "%Y%m%d":
        return text.replace("-", "")
    if form.startswith("%"):
        return str(divmod(int(text), int(form[1:]))[1])
    if form.startswith("bucket"):
        content = value if isinstance(value, bytes) else text.encode()
        return str(int(hashlib.sha256(content).hexdigest()[:8], 16) % int(form[6:]))
    if form == "lower":
        return "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in text)
    assert not form
    return text


def text_of(kind: str, value: Value) -> str:
    if kind == "datetime":
        return "T".join(str(value).split(" "))
    if kind == "timestamp":
        return "T".join(str(value).split(" ")) + "Z"
    return repr(value) if isinstance(value, float) else str(value)
