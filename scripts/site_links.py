"""For mkdocs: a link that leaves docs/ (to a test, a case, the model) leads to a copy of that, as text, in the site.

A folder's copy has its files one after the other. What does not exist is left to mkdocs, which fails.
"""

import posixpath
import re
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

    return LINK.sub(replaced, markdown)


def _text(path: Path) -> str:
    if path.is_file():
        return path.read_text()
    return "\n".join(f"==> {file.name} <==\n{file.read_text()}" for file in sorted(path.iterdir()) if file.is_file())
