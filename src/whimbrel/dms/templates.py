"""``${column}`` in attribute mappings: what is wrong with one, which columns it names, and the same as our template.

DMS puts the column's text in and formats nothing. A lone dollar is a dollar; there is no way to write a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from whimbrel.dms.fields import shown

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CLOSES = {"}": "{", "]": "["}

LEAVES = ("S", "N", "BOOL")


def faults(text: str) -> list[str]:
    """What cannot have been meant in a template; empty for a good one."""
    found = []
    for name in columns(text):
        if re.search(r"[\r\n\t]", name):
            found.append(f"has a line break or tab inside ${{{name!r}}}: a column name must be on one line")
        elif not name.strip():
            found.append("has ${} without a column name")
        elif name != name.strip():
            found.append(f"has blanks inside ${{{name}}}: write ${{{name.strip()}}}")
    rest = _REFERENCE.sub("", text)
    if "${" in rest:
        found.append(f"has a ${{ that is not closed: {shown(rest[rest.index('${') :])}")
    if _means_json(text) and (unbalanced := _unbalanced(_REFERENCE.sub("x", text))):
        found.append(f"looks like JSON and is not balanced: {unbalanced}")
    return found


def columns(text: str) -> list[str]:
    """The columns that the template names, each once, in order of appearance."""
    return list(dict.fromkeys(_REFERENCE.findall(text)))


def translated(text: str, name_of: Callable[[str], str]) -> str:
    """The same as a template of a project file, with ``name_of`` for each column's name."""
    parts = _REFERENCE.split(text)  # text, name, text, name, …, text
    return "".join(
        f"${{{name_of(part)}}}" if number % 2 else part.replace("$", "$$") for number, part in enumerate(parts)
    )


def is_alone(text: str) -> str:
    """The column, if the template is just ``${column}``, else ""."""
    match = _REFERENCE.fullmatch(text)
    return match[1] if match else ""


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, kind, template) of each leaf of a typed tree whose form was found right."""
    [(kind, content)] = tree.items()
    if isinstance(content, str):
        yield path, kind, content
    elif kind == "M":
        for name, each in content.items():
            yield from leaves(each, f"{path}.{name}" if path else name)
    elif kind == "L":
        for number, each in enumerate(content):
            yield from leaves(each, f"{path}[{number}]")


def tree_faults(tree: Any, path: str = "") -> list[str]:
    """Every fault in the form of a typed tree and in the templates at its leaves, each with its path."""
    at = f"at {path}: " if path else ""
    if not isinstance(tree, dict) or len(tree) != 1:
        return [f'{at}must be one typed value such as {{"S": "${{column}}"}}, not {shown(tree)}']
    [(kind, content)] = tree.items()
    if kind == "M" and isinstance(content, dict):
        inner = [tree_faults(each, f"{path}.{name}" if path else name) for name, each in content.items()]
        return [fault for found in inner for fault in found] + [
            f"{at}has a name that is empty or half a character" for name in content if not name or not _is_text(name)
        ]
    if kind == "L" and isinstance(content, list):
        inner = [tree_faults(each, f"{path}[{number}]") for number, each in enumerate(content)]
        return [fault for found in inner for fault in found]
    if kind in ("M", "L") and isinstance(content, str) and is_alone(content):
        return [f"{at}{fault}" for fault in faults(content)]
    if kind not in LEAVES:
        if kind in ("M", "L"):
            return [f"{at}{kind} must have {'an object' if kind == 'M' else 'a list'}, not {shown(content)}"]
        return [f"{at}{kind!r} is not a type that a template can fill: it is S, N, BOOL, M or L"]
    if not isinstance(content, str) or not _is_text(content):
        return [f"{at}{kind} must have a template in quotes, not {shown(content)}"]
    return [f"{at}{fault}" for fault in faults(content)]


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _means_json(text: str) -> bool:
    return re.match(r'\s*(\{\s*"|\[\s*["{\[])', text) is not None


def _unbalanced(text: str) -> str:
    """Which bracket of the JSON-like text has no partner; "" if all have."""
    outside = _STRING.sub("", text)
    if '"' in outside:
        return "a quote is not closed"
    opened: list[str] = []
    for character in outside:
        if character in "{[":
            opened.append(character)
        elif character in "}]" and (not opened or opened.pop() != _CLOSES[character]):
            return f"{character!r} closes nothing"
    return f"{opened[-1]!r} is not closed" if opened else ""
