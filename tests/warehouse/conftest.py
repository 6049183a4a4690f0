from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from demo.servers import PostgreSQL
from tests.warehouse.places import Place

pytest.importorskip("duckdb", reason="the extra 'warehouse' is not installed")
pytest.importorskip("psycopg", reason="the extra 'warehouse' is not installed")

ENGINES = ("duckdb", "postgres")
# Of what runs on each engine, `make test` has one half on one of them and some on both; `make test-all` has the rest.
ON_BOTH = (
    "test_last_images_moved_keys_and_rows_that_come_again",
    "test_columns_that_come_are_filled_and_those_that_go_stay",
    "test_each_kind_of_difference_is_found_and_named",
    "test_every_version_is_there_from_its_commit_to_the_next",
    "test_the_convergence_query_over_two_silos",
)
LEFT_OUT = (
    *("mariadb-postgres", "mysql-duckdb", "postgres-not done", "duckdb-done, and nobody knows"),
    *("postgres-text", "duckdb-null", "postgres-stop"),
)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if not str(item.path).startswith(here) or "[" not in item.name:
            continue
        name, _, parameters = item.name.removesuffix("]").partition("[")
        if parameters in LEFT_OUT or (parameters == "postgres" and name not in ON_BOTH):
            item.add_marker(pytest.mark.slow)
