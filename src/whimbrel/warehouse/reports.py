"""Named questions of the project: after each batch their answers are made again, as tables or views of the schema
``reports``, and shown on one page of HTML.

A question that fails keeps its last answer, and says why on the page and to the person; rows are written all the same.
"""

from __future__ import annotations

import time
from pathlib import Path

from whimbrel.durable import replace_file, writing
from whimbrel.errors import WarehouseError, WarehouseUnreachable
from whimbrel.lake.statements import statements
from whimbrel.notes import note
from whimbrel.project import ReportRule
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.ledger import in_part
from whimbrel.warehouse.names import quoted
from whimbrel.warehouse.page import ShownReport, page

SCHEMA = "reports"
MOST_ROWS, MOST_CHARACTERS = 1_000, 1_000  # on the page: of an answer, and of a value


class Reports:
    """Of one warehouse. ``file`` is the page, None for none. Of one thread."""

    def __init__(self, engine: Engine, reports: tuple[ReportRule, ...], file: Path | None) -> None:
        self._engine, self._reports, self._file = engine, reports, file
        self._noted: set[str] = set()

    def refresh(self) -> bool:
        """All in one transaction: whoever asks sees either all old answers or all new ones. False where they stay as
        they are, because a transaction of a source is there in part. Raises StateError where the page cannot be
        written; WarehouseUnreachable.
        """
        if not self._reports:
            return True
        failed: dict[str, str] = {}
        with self._engine.session() as session:
            if in_part(session):
                return False
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            self._note_left(session)
            while (shown := self._made(session, failed)) is None:
                pass  # once more, without one more that failed
        if self._file:
            with writing(self._file):
                replace_file(self._file, page(shown, time.time()).encode())
        return True

    def _note_left(self, session: EngineSession) -> None:
        """Name what no [[report]] makes any more, once: its answers are old ones."""
        there = session.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = ?", (SCHEMA,))
        for name in sorted({name for (name,) in there} - {report.name for report in self._reports} - self._noted):
            note(f"{SCHEMA}.{name}: no [[report]] of the project file makes it, so it stays as it was. Drop it.")
            self._noted.add(name)

    def _made(self, session: EngineSession, failed: dict[str, str]) -> list[ShownReport] | None:
        """None where one failed that had not yet."""
        wanted = [report for report in self._reports if report.name not in failed]
        report = None
        try:
            with session.transaction():
                for report in reversed(wanted):  # a view goes before what it asks
                    _drop(session, report)
                shown = {}
                for report in wanted:
                    _create(session, report)
                    shown[report.name] = _read(session, report)
        except WarehouseUnreachable:
            raise
        except WarehouseError as error:
            if report is None:
                raise
            failed[report.name] = error.message
            if report.name not in self._noted:
                note(f"report {report.name}: {error.message}")
                self._noted.add(report.name)
            return None
        return [shown.get(each.name) or ShownReport(each, [], [], failed=failed[each.name]) for each in self._reports]


def _drop(session: EngineSession, report: ReportRule) -> None:
    there = session.fetch(
        "SELECT table_type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
        (SCHEMA, report.name),
    )
    for (kind,) in there:
        session.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {SCHEMA}.{quoted(report.name)}")


def _create(session: EngineSession, report: ReportRule) -> None:
    if len(list(statements(report.sql))) != 1:  # the second would be run as it is
        raise WarehouseError("it is not one statement", place=report.name, hint="Write one SELECT.")
    kind = "VIEW" if report.view else "TABLE"
    session.execute(f"CREATE {kind} {SCHEMA}.{quoted(report.name)} AS {report.sql}")


def _read(session: EngineSession, report: ReportRule) -> ShownReport:
    """As texts: they are shown, and the engines' own forms are known to whoever reads them. A line is in the order of
    the column that it is across; a table's own order is nowhere certain.
    """
    columns = session.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ? "
        "ORDER BY ordinal_position",
        (SCHEMA, report.name),
    )
    names = [name for name, _ in columns]
    selected = ", ".join(_as_text(quoted(name), kind.lower()) for name, kind in columns)
    order = f" ORDER BY answer.{quoted(report.across)}" if report.across in names else ""
    asked = f"SELECT {selected} FROM {SCHEMA}.{quoted(report.name)} AS answer{order} LIMIT {MOST_ROWS + 1}"
    rows = session.fetch(asked)
    return ShownReport(report, names, rows[:MOST_ROWS], cut=len(rows) > MOST_ROWS)


def _as_text(column: str, kind: str) -> str:
    if kind == "boolean":  # Redshift has no CAST for it
        return f"CASE WHEN {column} THEN 'true' WHEN NOT {column} THEN 'false' END"
    return f"SUBSTRING(CAST({column} AS VARCHAR), 1, {MOST_CHARACTERS})"
