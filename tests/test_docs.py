"""Documentation cannot go stale where a test can hold it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import whimbrel

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "whimbrel"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
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
    shown = set(re.findall(r"^### (\w+)$", made.stdout, re.MULTILINE))
    assert set(whimbrel.__all__) - {"__version__", "errors", "Project"} <= shown


def test_the_page_of_errors_is_what_the_errors_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "errors-page"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "errors.md").read_text() == made.stdout, "run: scripts/errors-page > docs/errors.md"


def test_the_page_of_policies_is_what_the_code_says() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "policies-page"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "policies.md").read_text() == made.stdout, "run: scripts/policies-page > docs/policies.md"


def test_the_pictures_are_what_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "pictures", tmp_path], check=True)
    kept, drawn = (
        {path.name: path.read_text() for path in at.glob("*.svg")} for at in (ROOT / "docs/pictures", tmp_path)
    )
    assert kept == drawn, "run: scripts/pictures"


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert sorted(re.findall(r"[\w-]+\.md$", nav, re.MULTILINE)) == pages, "add it to nav in mkdocs.yml"


def test_the_readme_lists_the_pages_as_the_site_does() -> None:
    """The same groups, in one order; a link to a heading belongs to the group that has its page."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    groups = re.findall(r"^  - ([^:]+):\n((?:      - .*\n)+)", nav, re.MULTILINE)
    table = (ROOT / "README.md").read_text().partition("\n## Documentation\n")[2]
    rows = re.findall(r"^\| ([^|]+) \| (\[.*) \|$", table, re.MULTILINE)
    assert [name.lower() for name, _ in groups] == [name.lower() for name, _ in rows]
    for (name, pages), (_, links) in zip(groups, rows, strict=True):
        assert re.findall(r"- (.+): (.+)", pages) == re.findall(r"\[([^\]]+)\]\(docs/([\w-]+\.md)\)", links), name


def test_the_figures_of_the_home_page_are_those_of_the_benchmarks() -> None:
    rows = [line for line in (ROOT / "docs/index.md").read_text().splitlines() if "](benchmarks.md" in line]
    figures = {figure for row in rows for figure in re.findall(r"\d[\d.,]*\d", re.sub(r"\[.*?\]\(.*?\)", "", row))}
    assert len(figures) > 4
    assert not figures - set(re.findall(r"\d[\d.,]*\d", (ROOT / "docs/benchmarks.md").read_text()))


def test_the_tables_that_the_code_knows_are_what_it_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "tables", tmp_path], check=True)
    made = sorted(tmp_path.iterdir())
    assert [page.name for page in made] == ["metrics.md", "operations.md", "project-file.md", "types.md"]
    for page in made:
        text = page.read_text()
        assert text == (ROOT / "docs" / page.name).read_text(), "run: scripts/tables"
        made_tables = re.findall(r"^<!-- scripts/tables: .* -->\n\n((?:\|.*\n)+)", text, re.MULTILINE)
        assert not [line for table in made_tables for line in table.splitlines()[2:] if not meaning(line)], page.name


def test_every_section_of_a_project_file_has_its_table_of_keys() -> None:
    """Two sections may have one table: keys of the table and of its indexes are named alike."""
    said = subprocess.run([sys.executable, ROOT / "scripts" / "tables", "--sections"], capture_output=True, text=True)
    page = (ROOT / "docs" / "project-file.md").read_text()
    shown = set(re.findall(r"<!-- scripts/tables: keys(?: of )?(.*) -->", page))
    alike = {"[table].sort_key", "[table].index.partition_key", "[table].index.sort_key"}
    assert set(said.stdout.splitlines()) == shown | alike
    lists = re.findall(r"^\| `(\w+)` \| list of tables \|", page.partition("## `[source]`")[0], re.MULTILINE)
    assert {f"[{name}]" for name in lists} <= shown, "scripts/tables: PROJECT needs one of each"


def meaning(line: str) -> str:
    """The last cell; in a table of metrics the last but one."""
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    return cells[-1] or (cells[-2] if "_" in cells[0] and len(cells) == 4 and cells[0].startswith("`whimbrel_") else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Also to a heading of a page, as the site names it. Where a forge names it otherwise, nobody may link to it."""
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text())
    for path, anchor in links:
        there = (page.parent / path) if path else page
        assert there.exists(), path
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text()), f"{path}#{anchor}"


def anchors(markdown: str) -> set[str]:
    text = re.sub(r"^( *)```.*?^\1```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    on_a_forge = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return on_a_forge & {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def recipes() -> list[tuple[str, str]]:
    """Of the page of mappings: the case that a recipe says it is tested by, and the recipe's blocks after that."""
    page = (ROOT / "docs" / "mappings.md").read_text()
    return re.findall(r"\[tested\]\(\.\./tests/cases/([\w-]+)/\)[^`]*(```sql\n.*?```json\n.*?```)", page, re.DOTALL)


@pytest.mark.parametrize(("name", "blocks"), recipes(), ids=lambda value: value if "`" not in value else "")
def test_a_recipe_is_its_case(name: str, blocks: str) -> None:
    case = ROOT / "tests" / "cases" / name
    sql, toml, json = re.findall(r"```\w+\n(.*?)```", blocks, re.DOTALL)
    assert sql == "".join((case / f"{step}.sql").read_text() for step in ("schema", "data", "changes"))
    assert (toml, json) == ((case / "mapping.toml").read_text(), (case / "expected.json").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    """On average; what stands in tables and in blocks of code is left out."""
    lengths = [len(sentence.split()) for sentence in sentences(page.read_text())]
    assert sum(lengths) / len(lengths) <= 25


def sentences(markdown: str) -> list[str]:
    """The sentences of a page's paragraphs and list items; code within a line is one word, and a link is its text."""
    text = re.sub(r"```.*?```", "\n\n", markdown, flags=re.DOTALL)
    text = "\n".join("" if line.startswith(("|", "#", "    ")) else line for line in text.splitlines())
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", text))
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    return [each for block in blocks for each in re.split(r"(?<=[.!?])[)*]*\s+", block.strip()) if each]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_cell_of_a_table_is_a_paragraph(page: Path) -> None:
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert not [cell for row in rows for cell in re.split(r"(?<!\\)\|", row) if len(cell.split()) > WORDS_OF_A_CELL]


WORDS_OF_A_CELL = 45


def test_the_page_of_the_architecture_has_each_part_and_only_modules_that_exist() -> None:
    """A part is a module or a folder of the package; a paragraph on a folder names modules of that folder."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([\w/.]+)`", row)}
    assert not {name for name in listed if not (PACKAGE / name).exists()}
    assert not {path.name for path in parts()} - {name.rstrip("/") for name in listed}
    paragraphs = re.findall(r"^Inside `(\w+/)`:(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert [folder for folder, _ in paragraphs] == ["mysql/", "mapping/", "migration/", "lake/", "prediction/"]
    named = {(folder, name) for folder, text in paragraphs for name in re.findall(r"`([a-z_/]+)`", text)}
    assert len(named) > 25
    assert not {(folder, name) for folder, name in named if not is_module(PACKAGE / folder, name)}


def parts() -> list[Path]:
    return [path for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")]


def is_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").exists() if not name.endswith("/") else (folder / name).is_dir()
