"""Named questions of the project: after each batch their answers are made again, as tables or views of the schema
``reports``, and shown on one page of HTML.

A question that fails keeps its last answer, and says why on the page and to the person; rows are written all the same.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from whimbrel.durable import replace_file, writing
from whimbrel.errors import WarehouseError, WarehouseUnreachable
from whimbrel.notes import note
from whimbrel.project import ReportRule
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.names import quoted
from whimbrel.warehouse.page import ShownReport, page

SCHEMA = "reports"
MOST_ROWS = 1_000  # on the page


class Reports:
    """Of one warehouse. ``file`` is the page, None for none. Of one thread."""

    def __init__(self, engine: Engine, reports: tuple[ReportRule, ...], file: Path | None) -> None:
        self._engine, self._reports, self._file = engine, reports, file
        self._noted: set[str] = set()

    def refresh(self) -> None:
        """Raises StateError where the page cannot be written; WarehouseUnreachable."""
        if not self._reports:
            return
        with self._engine.session() as session:
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            shown = [self._answered(session, report) for report in self._reports]
        if self._file:
            with writing(self._file):
                replace_file(self._file, page(shown, time.time()).encode())

    def _answered(self, session: EngineSession, report: ReportRule) -> ShownReport:
        try:
            with session.transaction():
                _make(session, report)
                names, rows = _read(session, report)
        except WarehouseUnreachable:
            raise
        except WarehouseError as error:
            if report.name not in self._noted:
                note(f"report {report.name}: {error.message}")
                self._noted.add(report.name)
            return ShownReport(report, [], [], error.message)
        return ShownReport(report, names, rows)


def _make(session: EngineSession, report: ReportRule) -> None:
    name = f"{SCHEMA}.{quoted(report.name)}"
    there = session.fetch(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
        (SCHEMA, report.name),
    )
    for (kind,) in there:
        session.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
    session.execute(f"CREATE {'VIEW' if report.view else 'TABLE'} {name} AS {report.sql}")


def _read(session: EngineSession, report: ReportRule) -> tuple[list[str], list[tuple[Any, ...]]]:
    """As texts: they are shown, and the engines' own forms are known to whoever reads them."""
    columns = session.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ? "
        "ORDER BY ordinal_position",
        (SCHEMA, report.name),
    )
    names = [name for (name,) in columns]
    selected = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in names)
    rows = session.fetch(f"SELECT {selected} FROM {SCHEMA}.{quoted(report.name)} LIMIT {MOST_ROWS}")
    return names, rows
