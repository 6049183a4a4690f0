"""A project with a lake."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    file = folder / "whimbrel.toml"
    file.write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    return file
