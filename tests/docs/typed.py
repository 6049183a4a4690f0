"""What a page of the documentation tells its reader to type, and what it says will be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ANYTHING = "…"  # a line of its own: any lines; at the end of a line: whatever else is on it


@dataclass(frozen=True)
class Typed:
    """A command, with the lines that the page shows below it; or a text for ``[[table]]`` and below in the project
    file.
    """

    line: int
    command: str = ""
    shown: tuple[str, ...] = ()
    toml: str = ""


def typed(page: Path) -> Iterator[Typed]:
    """In the order of the page: its ``console`` and ``toml`` blocks."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(console|toml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        first = text.count("\n", 0, block.start(2)) + 1
        if block[1] == "toml":
            yield Typed(first, toml=block[2])
        else:
            yield from _commands(first, block[2].splitlines())


def _commands(first: int, lines: list[str]) -> Iterator[Typed]:
    begins = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    assert begins[:1] == [0], f"line {first}: a block of a console begins with a command"
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        yield Typed(first + begin, lines[begin][2:], tuple(lines[begin + 1 : end]))


def is_as_shown(shown: tuple[str, ...], seen: str) -> bool:
    """Exactly, but for ANYTHING."""
    pattern = ""
    for line in shown:
        if line == ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.removesuffix(ANYTHING)) + (".*" if line.endswith(ANYTHING) else "") + r"\n"
    return re.fullmatch(pattern, seen) is not None
