"""The fenced blocks of the documentation's pages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("spec/*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """``kind`` is the word behind the fence: "" for output and drawings."""

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*kinds: str) -> list[Block]:
    """Of all pages, those of ``kinds``; all of them where none is named."""
    return [block for page in PAGES for block in blocks_of(page) if not kinds or block.kind in kinds]


def blocks_of(page: Path) -> Iterator[Block]:
    """In the order of the page. Raises AssertionError if a fence is not closed, or has more than one word behind it."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    assert 2 * len(found) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page.name}: a fence is not closed"
    for each in found:
        yield Block(page, text.count("\n", 0, each.start(3)) + 1, each[2], textwrap.dedent(each[3]))
