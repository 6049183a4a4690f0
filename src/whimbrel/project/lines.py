"""At which line of a project file a fault is, by its words: as near as they tell."""

from __future__ import annotations

import re

_OF_TOML = re.compile(r"\(at line (\d+), column \d+\)")
_AT_THE_END = "(at end of document)"  # TOML's parser, too
_OF_A_SECTION = re.compile(r"(\w+) (\S+?): ([\w.-]+)")  # table shop.purchase: partition_key.name: …
_OF_A_SETTING = re.compile(r"(\w+)\.([\w.-]+)")  # source.url: …


def line_of(text: str, fault: str) -> int:
    """From 1 on; the first line where nothing tells."""
    if found := _OF_TOML.search(fault):
        return int(found[1])
    lines, fault = text.splitlines(), fault.strip()
    if fault.endswith(_AT_THE_END):
        return max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    if found := _OF_A_SECTION.match(fault):
        begin = _section(lines, found[1], found[2])
        key = _key(lines, begin, found[3])
        return (key if key > begin else _quoting(lines, begin, fault)) if begin else 1
    if (found := _OF_A_SETTING.match(fault)) and (begin := _header(lines, rf"\[{found[1]}\]")):
        return _key(lines, begin, found[2])
    named = next((name for name in _named(lines) if fault.startswith(name)), "")
    return _section(lines, "table", named) or 1 if named else 1


def _header(lines: list[str], pattern: str, after: int = 0) -> int:
    for number, line in enumerate(lines[after:], after + 1):
        if re.match(rf"\s*{pattern}\s*(#|$)", line):
            return number
    return 0


def _section(lines: list[str], kind: str, name: str) -> int:
    """The header of the [[kind]] whose source or name is ``name``, or that is number ``name``; 0 if there is none."""
    begin = _header(lines, rf"\[\[{kind}\]\]")
    number = 1
    while begin:
        following = _header(lines, r"\[\[?\w+\]\]?", begin) or len(lines) + 1
        block = "\n".join(lines[begin : following - 1])
        if name == str(number) or re.search(
            rf'^\s*(source|name)\s*=\s*["\']{re.escape(name)}["\']', block, re.MULTILINE
        ):
            return begin
        begin, number = _header(lines, rf"\[\[{kind}\]\]", begin), number + 1
    return 0


def _key(lines: list[str], begin: int, path: str) -> int:
    """The line of the setting in the section that begins at ``begin``; of its header if it is not there."""
    name = re.escape(path.split(".")[0].split(" ")[0])
    for number, line in enumerate(lines[begin:], begin + 1):
        if re.match(r"\s*\[\[?\w+\]\]?\s*(#|$)", line):
            break
        if re.match(rf'\s*("?{name}"?\s*[=.]|\[\[?\w+\.{name}\b)', line):
            return number
    return begin


def _quoting(lines: list[str], begin: int, fault: str) -> int:
    """The first line of the [[table]] that has a word which the fault quotes; its header where none has."""
    words = re.findall(r"'([^']+)'", fault)
    end = _header(lines, r"\[\[\w+\]\]", begin) or len(lines) + 1
    block = list(enumerate(lines[begin : end - 1], begin + 1))
    return next((number for word in words for number, line in block if word in line), begin)


def _named(lines: list[str]) -> list[str]:
    found = (re.match(r'\s*source\s*=\s*["\']([^"\']+)["\']', line) for line in lines)
    return sorted((each[1] for each in found if each), key=len, reverse=True)
