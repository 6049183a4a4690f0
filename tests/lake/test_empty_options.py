"""An option that is given as "", as by a variable that is not set, is refused: the answer would be another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from whimbrel.cli.main import main
from whimbrel.errors import UserError
from whimbrel.lake import datasets


@pytest.mark.parametrize(
    "words",
    [
        ("query", "SELECT 1", "--as-of", ""),
        ("query", "SELECT 1", "--as-of-position", ""),
        ("query", "SELECT 1", "--dataset-id", ""),
        ("convert", "t", "--from", ""),
        ("restore", "t", "--into", ""),
        ("restore", "t", "--as-of", ""),
        ("renew", "--abort", "--model", ""),
        ("drift", "--since", ""),
    ],
)
def test_what_is_given_and_empty_is_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "is empty: leave the option out" in done.stderr) == (2, True)


def test_a_data_set_is_asked_for_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in two ways"):
        datasets.at(tmp_path, "t", as_of="2026-01-01T00:00:00Z", position="b.1:4")
