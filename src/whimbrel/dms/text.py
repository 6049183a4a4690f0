"""The JSON text of a DMS file. A slip in its syntax does not hide the next: small ones are passed over and named."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_SLIPS = 50

_RULE_ID = re.compile(r'"rule-id"\s*:\s*"?([^",\s}]*)')
_ATTRIBUTE = re.compile(r'"target-attribute-name"\s*:\s*"([^"]*)"')


def parse(text: str, notes: list[str]) -> tuple[Any, list[str]]:
    """The document and the faults of its syntax; the document is None if it could not be read to its end. What makes
    no difference goes to ``notes``.

    Commas that are missing or too many are faults after which reading continues.
    """
    faults: list[str] = []
    repaired = text
    for _ in range(MAX_SLIPS):
        try:
            document, repeated, same = _read(repaired)
            notes += same
            return document, faults + repeated
        except json.JSONDecodeError as error:
            slip, repaired_or_none = _slip(repaired, error)
            faults.append(slip)
            if repaired_or_none is None:
                return None, faults
            repaired = repaired_or_none
        except _NoNumber as error:
            return None, [*faults, f"{error} is not JSON: write a number or a string"]
        except RecursionError:
            return None, [*faults, "is nested too deeply to be a rule file"]
        except ValueError as error:  # Python's limit on the digits of a whole number
            return None, [*faults, f"a number in it cannot be read: {error}"]
    return None, faults


class _NoNumber(Exception): ...


def _read(text: str) -> tuple[Any, list[str], list[str]]:
    """The document; the names that stand twice in one of its objects; and those that do with one value. Line breaks
    within texts are let through.
    """
    repeated: list[str] = []
    same: list[str] = []
    document = json.loads(
        text, strict=False, object_pairs_hook=lambda pairs: _object(pairs, repeated, same), parse_constant=_constant
    )
    return document, repeated, same


def _constant(name: str) -> NoReturn:
    raise _NoNumber(name)


def _object(pairs: list[tuple[str, Any]], repeated: list[str], same: list[str]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        values = {name: {json.dumps(value, sort_keys=True) for each, value in pairs if each == name} for name in twice}
        where = _owner(found)
        if differing := [name for name in twice if len(values[name]) > 1]:
            listed = ", ".join(map(repr, differing))
            repeated.append(f"{where}{listed} appears more than once in one object: keep one of them")
        if alike := [name for name in twice if len(values[name]) == 1]:
            same.append(
                f"{where}{', '.join(map(repr, alike))} appears more than once, with one value: it is taken once"
            )
    return found


def _owner(found: dict[str, Any]) -> str:
    if isinstance(rule := found.get("rule-id"), str | int):
        return f"rule {rule}: "
    for name in ("target-attribute-name", "column-name"):
        if isinstance(found.get(name), str | int):
            return f"{name} {found[name]!r}: "
    return ""


def _slip(text: str, error: json.JSONDecodeError) -> tuple[str, str | None]:
    """What is wrong at the error, and the text with it repaired if that is a matter of one comma."""
    at = error.pos
    before = text[:at].rstrip()
    if error.msg.startswith("Expecting ',' delimiter") and at < len(text) and text[at] in '"{[':
        return _said(text, at, "a comma is missing here"), f"{text[:at]},{text[at:]}"
    if before.endswith(",") and at < len(text) and text[at] in "]}\"'" and not error.msg.startswith("Expecting ':'"):
        comma = len(before) - 1
        if text[at] in "]}":
            return _said(text, comma, "a comma too many"), text[:comma] + " " + text[comma + 1 :]
    if error.msg.startswith("Illegal trailing comma"):  # what newer Pythons call it
        return _said(text, at, "a comma too many"), text[:at] + " " + text[at + 1 :]
    return _said(text, at, f"not readable as JSON: {error.msg}"), None


def _said(text: str, at: int, what: str) -> str:
    """``what`` with its place: the rule and attribute whose names stand last before it, and line and column."""
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    start = max(text.rfind('"rule-type"', 0, at), 0)
    rules = _RULE_ID.findall(text, start, at) or _RULE_ID.findall(text, 0, at)
    attributes = _ATTRIBUTE.findall(text, start, at)
    place = f"rule {rules[-1]}" if rules else "the file"
    if attributes:
        place += f", attribute {attributes[-1]!r}"
    return f"{place}: line {line}, column {column}: {what}"
