"""Over a table in DynamoDB: exports, typed data sets, SQL, and the way back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from whimbrel.api.opened import ProjectLike, opened
from whimbrel.errors import UserError
from whimbrel.file_name import FILE_NAME
from whimbrel.lake import table as tables
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.refused import Refused
from whimbrel.lake.restored import RestorePlan, RestoreResult
from whimbrel.lake.table import ConvertPlan, ConvertResult, CsvResult, ExportPlan, ExportResult

if TYPE_CHECKING:
    import pyarrow

    from whimbrel.lake.sql import Database

__all__ = [
    "ConvertPlan",
    "ConvertResult",
    "CsvResult",
    "ExportPlan",
    "ExportResult",
    "Manifest",
    "Refused",
    "RestorePlan",
    "RestoreResult",
    "convert",
    "export",
    "open_database",
    "plan_convert",
    "plan_export",
    "plan_restore",
    "query",
    "restore",
    "write_csv",
]


def export(
    project: ProjectLike,
    table: str,
    *,
    how: Literal["", "full", "incremental"] = "",
    method: Literal["auto", "stream", "compare"] = "auto",
    max_read_units: float | None = None,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> ExportResult:
    """Export a table of DynamoDB in its native layout: whole the first time, then what changed since the last export.

    ``how`` is ``"full"`` or ``"incremental"`` to have one of them in any case. ``method`` says how changes are found:
    from the table's stream, or by comparing. ``max_read_units`` (a second) replaces the project's. ``progress`` is
    called with the number of items that were read since it was called last, from any thread.

    An export that was stopped continues where it was. Raises TargetError, StateError, UserError, and Stopped.
    """
    with opened(project) as found:
        return tables.make_export(
            found,
            table,
            how=how,
            method=method,
            max_units=max_read_units,
            stop=stop or threading.Event(),
            count=progress or _ignore,
        )


def plan_export(
    project: ProjectLike,
    table: str,
    *,
    how: Literal["", "full", "incremental"] = "",
    max_read_units: float | None = None,
) -> ExportPlan:
    """What ``export`` would do now. Raises TargetError."""
    with opened(project) as found:
        return tables.plan_export(found, table, how, max_read_units)


def convert(
    project: ProjectLike,
    table: str,
    *,
    source: str | os.PathLike[str] = "",
    again: bool = False,
    as_of: str = "",
    accept_gap: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> ConvertResult:
    """Make a table's exports, or those at ``source`` (a folder, a file, ``s3://bucket/path``), a typed data set.

    The types follow from all items and are pinned in the project file; ``again`` infers them from scratch. ``as_of``
    (ISO 8601) makes the data set as it was then, beside the current one. ``accept_gap`` continues where changes are in
    no export, and the data set records it. Items that do not fit are listed in the result; they raise nothing.
    ``progress`` is called with the number of items that were read since it was called last, from any thread.

    Raises UserError, StateError (LogCorrupt for an export with a wrong checksum), TargetError, and Stopped.
    """
    ends = stop or threading.Event()
    with opened(project) as found:
        place = tables.exported_place(found, os.fspath(source), ends)
        chosen: dict[str, Any] = {"again": again, "as_of": as_of, "accept_gap": accept_gap}
        return tables.make_dataset(found, table, ends, place, **chosen, on_items=progress or _ignore)


def plan_convert(
    project: ProjectLike, table: str, *, source: str | os.PathLike[str] = "", as_of: str = ""
) -> ConvertPlan:
    """What ``convert`` would read. Raises as it does."""
    with opened(project) as found:
        return tables.plan_convert(found, table, os.fspath(source), as_of)


def write_csv(
    project: ProjectLike,
    table: str,
    *,
    path: str | os.PathLike[str] | None = None,
    columns: Sequence[str] = (),
    label: str = "",
    without: Sequence[str] = (),
    header: bool = False,
) -> CsvResult:
    """Write the table's current data set as CSV to ``path``, or into the lake's csv folder.

    ``columns`` are all unless some are named, ``without`` leaves some out, and ``label`` stands first. Raises UserError
    for an unknown column, StateError if the file cannot be written.
    """
    with opened(project) as found:
        file = Path(path) if path else None
        return tables.make_csv(found, table, file, columns=columns, label=label, without=without, header=header)


def restore(
    project: ProjectLike,
    table: str,
    *,
    source: str | os.PathLike[str] = "",
    as_of: str = "",
    into: str = "",
    key: Sequence[tuple[str, str]] = (),
    accept_gap: bool = False,
    into_existing: bool = False,
    by_import: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> RestoreResult:
    """Rebuild a table from its exports (up to ``as_of``), or from those at ``source``: every item as it was.

    It is made, under the name ``into`` if one is given; one that has items is refused without ``into_existing``.
    ``key`` has (name, type) pairs, partition key first, where no export says it. ``progress`` is called with the number
    of items written since it was called last.

    ``by_import``: DynamoDB makes a new table of files in the bucket of ``snapshot.store``, with the indexes that the
    project file has of ``table``. ``progress`` then counts the items in files. Not with ``into_existing``.

    Raises UserError, TargetError (TargetNotEmpty), StateError, and Stopped. May be repeated with ``into_existing`` or
    ``by_import``.
    """
    from whimbrel.lake import restore as restoring
    from whimbrel.lake.restore_import import restore_by_import

    ends = stop or threading.Event()
    if by_import and into_existing:
        raise UserError("an import makes its table itself", place="restore", hint="Leave out one of the two.")
    with opened(project) as found:
        chosen = restoring.choose(
            found, table, place=os.fspath(source), as_of=as_of, into=into, key=key, accept_gap=accept_gap, stop=ends
        )
        if by_import:
            done = restore_by_import(found, table, chosen, ends, progress or _ignore)
        else:
            done = restoring.restore(
                found.target,
                chosen.table,
                chosen.files,
                chosen.key,
                into_existing=into_existing,
                stop=ends,
                on_items=progress or _ignore,
            )
        return RestoreResult(chosen.table, done.puts, done.deletes, tuple(done.refused))


def plan_restore(
    project: ProjectLike,
    table: str,
    *,
    source: str | os.PathLike[str] = "",
    as_of: str = "",
    into: str = "",
    key: Sequence[tuple[str, str]] = (),
    accept_gap: bool = False,
    stop: threading.Event | None = None,
) -> RestorePlan:
    """What ``restore`` would write. An export in S3 is copied for that. Raises as ``restore`` does."""
    from whimbrel.lake.restore import choose

    ends = stop or threading.Event()
    with opened(project) as found:
        return choose(
            found, table, place=os.fspath(source), as_of=as_of, into=into, key=key, accept_gap=accept_gap, stop=ends
        ).plan()


def query(
    sql: str,
    *,
    project: ProjectLike = FILE_NAME,
    as_of: str = "",
    dataset_id: str = "",
    as_of_position: str = "",
    engine: Literal["duckdb", "athena"] = "duckdb",
) -> pyarrow.Table:
    """The rows of the last statement in ``sql`` over the project's data sets, as an Arrow table.

    ``as_of`` (ISO 8601) looks at every data set as it was then, ``dataset_id`` at one of them, ``as_of_position``
    (FILE:OFFSET) at the newest that says no later position of the migration's source. ``engine`` is what answers.

    Raises UserError for SQL that cannot be answered; with Athena also TargetError, Stopped.
    """
    from whimbrel.lake import sql as asking  # here, since a conversion starts without it

    at = {"as_of": as_of, "identity": dataset_id, "position": as_of_position}
    with opened(project) as found:
        return asking.query(found, sql, engine=engine, **at)


@contextmanager
def open_database(
    *,
    project: ProjectLike = FILE_NAME,
    as_of: str = "",
    dataset_id: str = "",
    as_of_position: str = "",
    engine: Literal["duckdb", "athena"] = "duckdb",
) -> Iterator[Database]:
    """A connection of DuckDB for several questions, closed at the end of the block: ``arrow(statement)`` gives a table,
    ``copy(statement, "csv" | "json" | "parquet", file)`` writes one, ``columns()`` has the columns of every table,
    ``scanned()`` counts the bytes that Athena billed.

    The arguments and errors are those of ``query``.
    """
    from whimbrel.lake import sql as asking

    at = {"as_of": as_of, "identity": dataset_id, "position": as_of_position}
    with opened(project) as found, asking.open_database(found, engine=engine, **at) as database:
        yield database


def athena_dollars(project: ProjectLike, scanned: int) -> float | None:
    """What Athena charges for so many bytes, by the prices of ``check``; None where the region's price is not known."""
    from whimbrel.checks.cost import DEFAULT_REGION, read_prices

    with opened(project) as found:
        region = found.target.region or DEFAULT_REGION
        price = read_prices(found.check.prices, region).engines.get("athena_tb")
    return None if price is None else scanned / 1e12 * price


def _ignore(items: int) -> None: ...
