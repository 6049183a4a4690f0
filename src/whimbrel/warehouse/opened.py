"""The warehouse of a project, by the engine that it names."""

from __future__ import annotations

from collections.abc import Callable

from whimbrel.project import Project, Warehouse
from whimbrel.warehouse.duckdb_file import DuckDBFile
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.postgres import Postgres
from whimbrel.warehouse.redshift import Redshift


def open_engine(project: Project, warehouse: Warehouse, stop: Callable[[], bool] = lambda: False) -> Engine:
    """``stop`` ends a wait for the file of DuckDB. Raises UserError where the engine's package is not installed."""
    if warehouse.path is not None:
        return DuckDBFile(warehouse.path, project.state / "warehouse-spill", warehouse.memory, stop)
    if warehouse.engine == "redshift":
        return Redshift(warehouse, project.target)
    return Postgres(warehouse)
