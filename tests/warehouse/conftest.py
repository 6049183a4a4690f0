from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from demo.servers import PostgreSQL
from tests.warehouse.places import Place

pytest.importorskip("duckdb", reason="the extra 'warehouse' is not installed")
pytest.importorskip("psycopg", reason="the extra 'warehouse' is not installed")

ENGINES = ("duckdb", "postgres")
MakePlace = Callable[[str], Place]


@pytest.fixture
def make_place(tmp_path: Path, request: pytest.FixtureRequest) -> MakePlace:
    """A new, empty warehouse of an engine."""

    def make(engine: str) -> Place:
        folder = tmp_path / engine
        folder.mkdir(mode=0o700)
        server: PostgreSQL | None = request.getfixturevalue("postgres") if engine == "postgres" else None
        return Place(engine, folder, server)

    return make


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, make_place: MakePlace) -> Place:
    return make_place(request.param)
