"""Several sources into one warehouse: full load, changes, the proof, and SQL over all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.file_name import FILE_NAME
from whimbrel.migration.live import Asked, Update
from whimbrel.warehouse import converge as converging
from whimbrel.warehouse import proving
from whimbrel.warehouse import sql as asking
from whimbrel.warehouse.converge import ConvergeResult, SiloResult
from whimbrel.warehouse.plan import ConvergePlan, PlannedSiloTable, plan
from whimbrel.warehouse.proving import WarehouseVerification
from whimbrel.warehouse.sql import WarehouseSql
from whimbrel.warehouse.verify import RowDifference, RowReport

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "ConvergePlan",
    "ConvergeResult",
    "PlannedSiloTable",
    "RowDifference",
    "RowReport",
    "SiloResult",
    "WarehouseVerification",
    "converge",
    "open_warehouse",
    "plan_converge",
    "query_warehouse",
    "verify_warehouse",
]


def converge(
    project: ProjectLike,
    *,
    until_caught_up: bool = True,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> ConvergeResult:
    """Load all silos into the warehouse, side by side, and write their changes, from where an earlier call was stopped.

    With ``until_caught_up`` it returns once everything that each source had after its load is written; without it,
    the sources are followed until ``stop`` is set. ``progress`` is called about four times a second, from one other
    thread.

    Raises ProjectError, PrivilegeError, SourceError, SchemaDrift, WarehouseError and StateError (Locked, if another
    process is at work). What the first silo that failed raised ends all.
    """
    with opened(project) as found:
        return converging.converge(found, _asked(stop, progress), until_caught_up=until_caught_up)


def plan_converge(project: ProjectLike) -> ConvergePlan:
    """The tables that ``converge`` would make, with their columns and types. Nothing is done.

    The sources are checked as ``converge`` does it, and it raises the same: UnsupportedSource has all faults of a silo.
    """
    with opened(project) as found:
        return plan(found)


def verify_warehouse(
    project: ProjectLike,
    *,
    progress: Callable[[Update], None] | None = None,
    stop: threading.Event | None = None,
) -> WarehouseVerification:
    """Compare each table of the warehouse with its source in full, while both are live.

    Differences are in the result; they raise nothing. Raises as ``converge`` does, StateError before the load is done,
    and Stopped if ``stop`` was set before the end.
    """
    with opened(project) as found:
        return proving.verify(found, _asked(stop, progress))


def query_warehouse(sql: str, *, project: ProjectLike = FILE_NAME) -> pyarrow.Table:
    """The rows of the last statement in ``sql`` over all silos, as an Arrow table: tables are named ``silo.table``.

    Raises UserError for SQL that cannot be answered, WarehouseError where the warehouse cannot be opened.
    """
    with opened(project) as found:
        return asking.query(found, sql)


@contextmanager
def open_warehouse(*, project: ProjectLike = FILE_NAME) -> Iterator[WarehouseSql]:
    """For several questions: ``arrow(statement)`` gives a table, ``copy(statement, "csv" | "json" | "parquet", file)``
    writes one. Nobody can write a warehouse of DuckDB meanwhile. Raises as ``query_warehouse``.
    """
    with opened(project) as found, asking.open_sql(found) as database:
        yield database


def _asked(stop: threading.Event | None, progress: Callable[[Update], None] | None) -> Asked:
    return Asked(stop or threading.Event(), progress)
