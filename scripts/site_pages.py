"""For mkdocs, whose pages are written for a forge.

A link that leaves docs/ (to a test, a case, the model) leads to a copy of that, as text, in the site.

A folder's copy has its files one after the other. What does not exist is left to mkdocs, which fails.
What belongs to an item of a list is indented by two or three blanks, of which mkdocs wants four.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    def replaced(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", match[1]))
        if path.startswith("..") or not (ROOT / path).exists():
            return match[0]
        copy = f"repository/{path}.txt"
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, content=_text(ROOT / path)))
        return f"]({copy})"

    return LINK.sub(replaced, "\n".join(_indented(markdown.split("\n"))))


def _indented(lines: list[str]) -> Iterator[str]:
    fence = parted = False  # parted: the item has a paragraph of its own, after which a blank line parts the next item
    shift = 0
    before = ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        parted_before = parted
        if not fence:
            shift = 4 - indent if indent in (2, 3) else 0
            parted = indent > 0 and (parted or not before) if line else parted
            if parted_before and line and not indent and before:
                yield ""
        if line.lstrip().startswith("```"):
            fence = not fence
        yield " " * shift + line if line else line
        before = line


def _text(path: Path) -> str:
    if path.is_file():
        return path.read_text()
    return "\n".join(f"==> {file.name} <==\n{file.read_text()}" for file in sorted(path.iterdir()) if file.is_file())
