"""What a cutover refuses by name before it looks at anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_start import PROJECT
from whimbrel.errors import ProjectError
from whimbrel.handover.plan import refuse_untried
from whimbrel.project import load_project

LOOKS_UP = """lookup = { name = "customer.name", by = "customer_id" }
[[table]]
source = "customer"
target = "customer"
shape = "record"
partition_key = { name = "id" }
"""


def test_a_cutover_of_a_project_with_look_ups_is_refused(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(PROJECT)
    refuse_untried(load_project(tmp_path / "whimbrel.toml"))
    (tmp_path / "whimbrel.toml").write_text(PROJECT + LOOKS_UP)
    with pytest.raises(ProjectError, match=r"shop\.t looks columns up"):
        refuse_untried(load_project(tmp_path / "whimbrel.toml"))
