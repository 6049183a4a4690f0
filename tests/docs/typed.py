"""What a page of the documentation tells its reader to type, and what it says will be seen."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import Block, blocks_of

ANYTHING = "…"  # a line of its own: any lines; at the end of a line: whatever else is on it


@dataclass(frozen=True)
class Typed:
    """A command, with the lines that the page shows below it; or a text for the project file, or a program.

    ``shown`` is None where the block shows commands alone.
    """

    line: int
    command: str = ""
    shown: tuple[str, ...] | None = ()
    toml: str = ""
    python: str = ""


def typed(page: Path) -> Iterator[Typed]:
    """In the order of the page: its ``console``, ``toml`` and ``python`` blocks."""
    for block in blocks_of(page):
        if block.kind == "toml":
            yield Typed(block.line, toml=block.text)
        elif block.kind == "python":
            yield Typed(block.line, python=block.text, shown=None)
        elif block.kind == "console":
            yield from commands(block)


def commands(block: Block) -> Iterator[Typed]:
    """Of a ``console`` block. A command goes on over a line that ends in a backslash, or within quotes."""
    lines = block.text.splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    assert begins[:1] == [0], f"{block}: a block of a console begins with a command"
    found = []
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        last = begin + 1
        while last < end and not _is_whole("\n".join(lines[begin:last])):
            last += 1
        found.append(Typed(block.line + begin, "\n".join(lines[begin:last])[2:], tuple(lines[last:end])))
    if any(each.shown for each in found):
        yield from found
    else:
        yield from (Typed(each.line, each.command, None) for each in found)


def _is_whole(command: str) -> bool:
    if command.endswith("\\"):
        return False
    try:
        shlex.split(command, comments=True)
    except ValueError:  # within quotes
        return False
    return True


def is_as_shown(shown: tuple[str, ...], seen: str) -> bool:
    """Exactly, but for ANYTHING."""
    pattern = ""
    for line in shown:
        if line == ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.removesuffix(ANYTHING)) + (".*" if line.endswith(ANYTHING) else "") + r"\n"
    return re.fullmatch(pattern, seen) is not None
