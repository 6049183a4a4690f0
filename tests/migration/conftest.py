"""What a migration works on, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.migration.applied import Applied
from tests.migration.sides import Sides
from whimbrel.migration import first_look, second_look
from whimbrel.project import TableRule
from whimbrel.records import Table


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sides]:
    def make(*rules: tuple[TableRule, Table]) -> Sides:
        sides = Sides(tmp_path / "state" / "verify", *rules)
        monkeypatch.setattr(second_look, "read_whole_table", sides.read_whole)
        monkeypatch.setattr(first_look, "read_directly", sides.read_directly)
        monkeypatch.setattr(second_look, "rows_of_items", sides.of_items)
        monkeypatch.setattr(second_look, "rows_where_equal", sides.where_equal)
        monkeypatch.setattr(second_look, "average_row_bytes", lambda connection, table: 100)
        monkeypatch.setattr(first_look, "count_rows", sides.count)
        monkeypatch.setattr(first_look, "current_position", sides.position)
        monkeypatch.setattr(sides.stop, "wait", sides.wait)
        return sides

    return make


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[Applied]:
    applied = Applied(tmp_path)
    yield applied
    applied.close()
