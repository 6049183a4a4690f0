"""The memory of a query follows DuckDB's limit, and not what it sorts (docs/operations.md)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import whimbrel

pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")

BESIDE = 150  # MB: Python, its libraries, and what DuckDB does not count
LIMIT = 100  # MB
SORTED = (
    f"SET memory_limit = '{LIMIT}MB'; SET threads = 1; SELECT count(*) AS n, max(place) AS last FROM (SELECT "
    "row_number() OVER (ORDER BY text) AS place FROM "
    "(SELECT repeat(md5(i::VARCHAR), 8) AS text FROM range(1000000) numbers(i)))"
)
QUERY = """
import sys
from pathlib import Path
import whimbrel
print(whimbrel.query(sys.argv[2], project=sys.argv[1]).to_pylist())
print(Path("/proc/self/status").read_text())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "whimbrel.toml"
    path.write_text("", encoding="utf-8")
    return path


def test_without_a_word_it_has_four_fifths_of_the_memory(project: Path) -> None:
    [row] = whimbrel.query("SELECT current_setting('memory_limit') AS most", project=project).to_pylist()
    number, unit = re.fullmatch(r"([\d.]+) (MiB|GiB|TiB)", row["most"]).groups()
    limit = float(number) * {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # a container may have less
    assert limit <= 0.81 * machine


def test_what_is_more_than_its_limit_goes_to_disk(project: Path) -> None:
    """256 MB are sorted."""
    done = subprocess.run(
        [sys.executable, "-c", QUERY, str(project), SORTED],
        capture_output=True,
        text=True,
        check=True,
        cwd=project.parent,
    )
    assert "[{'n': 1000000, 'last': 1000000}]" in done.stdout
    [found] = re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert int(found) / 1024 < LIMIT + BESIDE
