"""The report of check: what was found, as JSON and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.checks.cost import Cost, Way
from whimbrel.checks.findings import ERROR, WARNING, Finding
from whimbrel.checks.run import Limits, TableFacts, check
from whimbrel.checks.source import SourceFacts
from whimbrel.checks.writes import Writes
from whimbrel.project import Project

if TYPE_CHECKING:
    from whimbrel.checks.access.served import Access

WORTH_SAYING = 0.01  # the share of one partition key


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


def report(project: Project, limits: Limits, prices: Path | None, statements: str) -> CheckReport:
    """What ``check`` finds. Raises what it does."""
    found = check(project, limits, prices, statements)
    tables = tuple(found.tables)
    return CheckReport(tuple(found.findings), found.source, tables, found.writes, found.cost, found.access)


def _access_as_json(report: CheckReport) -> dict[str, Any] | None:
    if report.access is None:
        return None
    from whimbrel.checks.access.served import access_json

    return access_json(report.access)


def _access_lines(report: CheckReport) -> Iterator[str]:
    if report.access is not None:
        from whimbrel.checks.access.served import access_lines

        yield from access_lines(report.access)


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


def lines(report: CheckReport) -> Iterator[str]:
    for each in report.findings:
        yield f"{each.severity:<8} {each.place}: {each.reason}  [{each.code}]"
        yield f"         {each.remedy}"
    if report.findings:
        yield ""
    yield from _source_lines(report)
    for facts in report.tables:
        yield from _table_lines(facts)
    if report.cost and report.tables:
        yield from _cost_lines(report.cost)
    yield from _access_lines(report)
    yield (
        "Not ready: fix the errors above." if report.errors else "Ready. Next: whimbrel preview, then whimbrel migrate"
    )


def _source_lines(report: CheckReport) -> Iterator[str]:
    if source := report.source:
        kept = f"kept for {source.retention / 3600:,.0f} h" if source.retention else "kept until it is purged by hand"
        size = f"{source.binlog_bytes / 1e6:,.1f} MB in {source.binlog_files} files"
        yield f"source   {source.flavor} {source.version}; binlog of {size}, {kept}"
    writes = report.writes
    if writes and writes.since:
        rate = f"{writes.per_second:,.1f} changes a second, {writes.transactions:,} transactions"
        yield f"writes   {rate} in {writes.seconds / 60:,.1f} minutes of {writes.origin}"
    if writes and writes.ended:
        yield f"         read no further: {writes.ended}"


def _table_lines(facts: TableFacts) -> Iterator[str]:
    about = "" if facts.exact else "about "
    yield f"table    {facts.source} → {facts.target}: {about}{facts.rows:,} rows make {_items_text(facts)}"
    for each in [each for each in facts.heaviest[:3] if each.share >= WORTH_SAYING]:
        yield f"         {each.key}: {each.rows:,} rows, {each.share:.1%}"
    for key, count in [each for each in facts.heaviest_writes[:3] if each[1] >= facts.recent_changes * WORTH_SAYING]:
        yield f"         {key}: {count:,} of {facts.recent_changes:,} recent changes"


def _items_text(facts: TableFacts) -> str:
    if not facts.sizes:
        return "no items"
    average = f"of {facts.sizes.bytes:,.0f} bytes and {facts.sizes.write_units:,.2f} write units on average"
    return f"about {facts.items:,.0f} items {average} ({facts.sizes.sampled:,} sampled)"


def _cost_lines(cost: Cost) -> Iterator[str]:
    prices = cost.prices
    yield f"cost     {cost.write_units:,.0f} write units; prices of {prices.as_of} in {prices.region}: check them"
    for way in cost.ways:
        yield f"         {_way_text(way)}"
    storage = _dollars(cost.storage_dollars)
    yield f"         storage: {cost.storage_gb:,.3f} GB, {storage} a month"


def _way_text(way: Way) -> str:
    rate = f"at {way.rate:,.0f} a second: " if way.rate else ""
    hours = "" if way.hours is None else f"{way.hours:,.2f} h, "
    return f"{way.name}: {rate}{hours}{_dollars(way.dollars)} ({way.note})"


def _dollars(amount: float | None) -> str:
    return "no price" if amount is None else f"${amount:,.2f}"
