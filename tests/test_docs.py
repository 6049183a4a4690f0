"""Documentation cannot go stale where a test can hold it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from whimbrel.mapping.values import TYPES
from whimbrel.mysql.types import KINDS
from whimbrel.project import load_project

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("spec/*.md")),
]


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "commands-page"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "commands.md").read_text() == made.stdout, "run: scripts/commands-page > docs/commands.md"


def test_the_page_of_the_python_api_is_what_the_functions_say() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts" / "api-page"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "api.md").read_text() == made.stdout, "run: scripts/api-page > docs/api.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_mappings_in_the_readme_are_read(tmp_path: Path) -> None:
    tables = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lake = [text for text in tables if text.startswith("[target]")]
    tables = [text for text in tables if text not in lake]
    assert (len(tables), len(lake)) == (2, 1)
    (tmp_path / "lake.toml").write_text(lake[0])
    assert load_project(tmp_path / "lake.toml").predict.renewals[0].endpoint == "ServiceEndpoint"
    for number, text in enumerate(tables):
        head = "" if text.startswith("[[table]]") else '[[table]]\nsource = "shop.purchase"\ntarget = "purchase"\n'
        file = tmp_path / f"{number}.toml"
        file.write_text('[source]\nurl = "mysql://user@127.0.0.1/shop"\n' + head + text)
        assert load_project(file).tables[0].source == "shop.purchase"


def test_the_table_of_types_is_what_the_mapping_knows() -> None:
    """Every type has one row, with its default and all of its alternatives."""
    lines = re.findall(
        r"^\| ([A-Z][^|]*) \| (\w+) \| ?([^|]*)\|", (ROOT / "docs" / "types.md").read_text(), re.MULTILINE
    )
    documented: dict[str, tuple[str, ...]] = {}
    for names, default, others in lines:
        for name in re.findall(r"[A-Z]+[0-9]?\b", re.sub(r"\(.*?\)|; .*", "", names)):
            assert name.lower() not in documented, name
            documented[name.lower()] = (default, *re.findall(r"[A-Z_]+", re.sub(r"\(.*?\)", "", others)))
    assert documented == {word: TYPES[kind] for word, kind in KINDS.items()}


def test_the_mappings_on_the_page_of_mappings_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "mappings.md").read_text(), re.DOTALL)
    tables = [block for block in blocks if block.startswith("[[table]]")]
    assert len(tables) == 6
    for number, text in enumerate(tables):
        file = tmp_path / f"{number}.toml"
        file.write_text('[source]\nurl = "mysql://user@127.0.0.1/shop"\n' + text)
        assert load_project(file).tables
