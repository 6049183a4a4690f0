"""The report of check: what was found, also as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.checks.cost import Cost
from whimbrel.checks.findings import ERROR, WARNING, Finding
from whimbrel.checks.run import CheckLimits, TableFacts, check
from whimbrel.checks.source import SourceFacts
from whimbrel.checks.writes import Writes
from whimbrel.project import Project

if TYPE_CHECKING:
    from whimbrel.checks.access.served import Access


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings, errors first, and what they were found in. ``source``, ``writes`` and ``cost`` are None where they
    could not be found out, ``access`` where no statements were given.
    """

    findings: tuple[Finding, ...]
    source: SourceFacts | None
    tables: tuple[TableFacts, ...]
    writes: Writes | None
    cost: Cost | None
    access: Access | None

    @property
    def errors(self) -> int:
        return sum(each.severity == ERROR for each in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "errors": self.errors,
            "warnings": sum(each.severity == WARNING for each in self.findings),
            "findings": [asdict(each) for each in self.findings],
            "source": asdict(self.source) if self.source else None,
            "tables": [asdict(each) for each in self.tables],
            "recent_writes": _writes_as_json(self.writes) if self.writes else None,
            "cost": asdict(self.cost) if self.cost else None,
            "access": _access_as_json(self),
        }


def report(project: Project, limits: CheckLimits, prices: Path | None, statements: str) -> CheckReport:
    """What ``check`` finds. Raises what it does."""
    found = check(project, limits, prices, statements)
    tables = tuple(found.tables)
    return CheckReport(tuple(found.findings), found.source, tables, found.writes, found.cost, found.access)


def _access_as_json(report: CheckReport) -> dict[str, Any] | None:
    if report.access is None:
        return None
    from whimbrel.checks.access.served import access_json

    return access_json(report.access)


def _writes_as_json(writes: Writes) -> dict[str, Any]:
    return {
        "origin": writes.origin,
        "changes": dict(writes.changes),
        "transactions": writes.transactions,
        "seconds": writes.seconds,
        "changes_per_second": writes.per_second,
        "binlog_bytes_per_second": writes.bytes_per_second,
        "ended": writes.refused or writes.ended,
    }
