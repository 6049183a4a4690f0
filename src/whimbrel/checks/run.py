"""check, from beginning to end: source, mapping, data, target, cost. Changes nothing on either side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from whimbrel import handed_over
from whimbrel.checks.ask import OutOfTime, TimedQueries
from whimbrel.checks.cost import (
    DEFAULT_REGION,
    Cost,
    TableLoad,
    chosen_way,
    cost_findings,
    cost_of,
    known_prices,
    read_prices,
)
from whimbrel.checks.data import row_findings
from whimbrel.checks.engines import Engines, Measured, TableWork, engines_of
from whimbrel.checks.findings import ERROR, Finding, finding, in_order
from whimbrel.checks.following import (
    ChangedItems,
    FollowedTable,
    changed_items,
    following,
    large_group_findings,
)
from whimbrel.checks.groups import Partition, collection_findings, group_findings, partition_findings, partitions
from whimbrel.checks.keys import KeyCounts, key_findings, uncounted_findings
from whimbrel.checks.lookups import lookup_findings
from whimbrel.checks.reserved import name_findings
from whimbrel.checks.sample import ROWS, ItemSizes, Mapped, corrected, item_sizes, mapped_sample, refused
from whimbrel.checks.scan import SCANNED, SCANNED_ANYWAY, scanned
from whimbrel.checks.scope import Scope, bearable_rows, scope_of
from whimbrel.checks.source import SourceFacts, retention_findings, source_facts, source_findings, table_error
from whimbrel.checks.sql import counts
from whimbrel.checks.store import store_findings
from whimbrel.checks.target import stream_findings, target_findings
from whimbrel.checks.writes import Writes, recent_writes, write_findings
from whimbrel.dynamodb.session import Session
from whimbrel.errors import (
    MappingError,
    PositionLost,
    ProjectError,
    SchemaDrift,
    StateError,
    UnsupportedSource,
    WhimbrelError,
)
from whimbrel.lake.need import need
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.mappings import Mappings, read_mappings
from whimbrel.migration.prepare import goes_on
from whimbrel.migration.safe_edits import unsafe_edits
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import Mysql, connect, server_info
from whimbrel.mysql.login import Peer
from whimbrel.mysql.schema import estimated_rows, facts_of
from whimbrel.project import Project

if TYPE_CHECKING:
    from whimbrel.checks.access.served import Access

Result = TypeVar("Result")


class CheckLimits(NamedTuple):
    """``rows`` to read of one table, ``seconds`` for the questions about it, and for the recent writes; 0: no limit.
    ``checked`` is called with each table that was looked at.
    """

    rows: int = 1_000_000
    seconds: float = 60.0
    binlog_seconds: float = 3.0
    checked: Callable[[str], None] = lambda source: None


@dataclass
class TableFacts:
    """What check learnt of one table. ``rows`` is exact if all were read. ``heaviest``: its largest partition keys."""

    source: str
    target: str
    rows: int
    shape: str
    exact: bool = False
    read: str = ""
    items: float = 0.0
    sizes: ItemSizes | None = None
    heaviest: list[Partition] = field(default_factory=list)
    recent_changes: int = 0
    heaviest_writes: list[tuple[str, int]] = field(default_factory=list)
    changed: ChangedItems | None = None  # None where nothing was written recently


@dataclass
class Report:
    findings: list[Finding]
    source: SourceFacts | None
    tables: list[TableFacts]
    writes: Writes | None
    cost: Cost | None
    access: Access | None = None

    @property
    def errors(self) -> int:
        return sum(each.severity == ERROR for each in self.findings)


def check(project: Project, limits: CheckLimits, prices: Path | None, statements: str = "") -> Report:
    """Everything there is to say, at once. ``statements``: a file of the application's, or performance_schema.

    Raises ProjectError only, for a price file that is none, or statements that cannot be read; and UserError if
    statements are given and there is no sqlglot.
    """
    if statements:
        need("sqlglot", "lake")
    report = Report([], None, [], None, None)
    region = _region(project)
    priced = read_prices(prices or project.check.prices, region)
    mappings: list[TableMapping] = []
    try:
        with closing(connect(project.source)) as connection:
            mappings = _check_source(project, connection, limits, report)
            if statements:
                _access(project, connection, limits, mappings, report, statements)
    except ProjectError:
        raise
    except WhimbrelError as error:
        report.findings.append(finding("source-unreachable", error.place or "source.url", error.message, error.hint))
    begun = StateFolder(project.state).checkpoint.exists()
    report.findings += target_findings(project.target, mappings, begun=begun)
    report.findings += stream_findings(project, mappings)
    report.findings += store_findings(project, mappings, begun=begun)
    loads, followed = [_load(facts) for facts in report.tables], following(_followed(report), priced.write_million)
    _estimate(project, report, cost_of(loads, project.target, priced, followed))
    report.findings = in_order(report.findings)
    return report


def _check_source(
    project: Project, connection: SourceConnection, limits: CheckLimits, report: Report
) -> list[TableMapping]:
    if not connection.peer.trusted:
        report.findings.append(finding("source-tls", "source.tls", unverified(connection.peer, project.source.tls)))
    found = _mappings(project, connection, report)
    mappings = list(found.mappings.values())
    report.source = source_facts(connection)
    report.findings += _lost(project, connection)
    report.findings += source_findings(connection, list(found.tables.values()))
    by_name = {mapping.source: mapping for mapping in mappings}
    log = StateFolder(project.state).log
    report.writes = recent_writes(project.source, by_name, log, limits.binlog_seconds)
    report.findings += write_findings(report.writes, by_name)
    _check_tables(connection, mappings, limits, report)
    return mappings


def table_findings(project: Project, connection: SourceConnection, limits: CheckLimits) -> list[Finding]:
    """Of what check finds, that which is about the project's tables and their rows alone."""
    report = Report([], None, [], None, None)
    _check_tables(connection, list(_mappings(project, connection, report).mappings.values()), limits, report)
    return in_order(report.findings)


def _check_tables(
    connection: SourceConnection, mappings: list[TableMapping], limits: CheckLimits, report: Report
) -> None:
    info, estimates = server_info(connection), estimated_rows(connection, [each.table for each in mappings])
    names = [(mapping.table.schema, mapping.table.name) for mapping in mappings]
    for mapping, facts in zip(mappings, facts_of(connection, names), strict=True):
        queries = TimedQueries(connection, info, limits.seconds, facts)
        try:
            report.tables.append(_check_table(queries, mapping, limits, report, estimates[mapping.table.full_name]))
        except UnsupportedSource as error:  # a text that cannot be read exactly
            report.findings.append(table_error(error, mapping.source))
        except WhimbrelError as error:
            report.findings.append(finding("not-checked", mapping.source, str(error)))
        limits.checked(mapping.source)


def unverified(peer: Peer, tls: str) -> str:
    """What ``tls`` came to with a server on another machine."""
    over = "encrypted, but the certificate is not verified" if peer.encrypted else "not encrypted"
    return f'tls = "{tls}", the server is on another machine, and the connection is {over}'


def _mappings(project: Project, connection: Mysql, report: Report) -> Mappings:
    """What every other command works with; all that is wrong with it is said."""
    found = read_mappings(project, connection)
    report.findings += [_fault_finding(each, project) for each in found.faults]
    if found.history is not None:
        edits = unsafe_edits(found.history, found.project.tables, found.tables) if not found.faults else []
        report.findings += [finding("project-changed", project.path.name, edit) for edit in edits]
    return found


def _lost(project: Project, connection: Mysql) -> list[Finding]:
    """Where a migration has begun, and is not handed over: what keeps it from going on."""
    if handed_over.load(project.state).side != "mysql":
        return []
    try:
        goes_on(project, connection)
    except (PositionLost, StateError, UnsupportedSource) as error:
        return [finding("position-lost", error.place, error.message, error.hint)]
    return []


def _fault_finding(error: WhimbrelError, project: Project) -> Finding:
    place = error.place or project.path.name
    if isinstance(error, MappingError):
        return finding("mapping", place, error.message, error.hint)
    if isinstance(error, SchemaDrift):
        return finding("table-altered", place, error.message, error.hint)
    return table_error(error, place)


def _check_table(
    queries: TimedQueries, mapping: TableMapping, limits: CheckLimits, report: Report, estimate: int
) -> TableFacts:
    source, found = mapping.source, report.findings
    facts = TableFacts(source, mapping.target, estimate, mapping.shape)
    if mapping.regrouped:
        found.append(finding("regrouped", source, _why_regrouped(mapping)))
    scope = scope_of(queries, mapping.table, facts.rows, limits.rows)
    facts.read = scope.words
    if not scope.whole:
        found.append(finding("sampled", source, scope.words))

    def attempt(what: str, question: Callable[[], Result], otherwise: Result) -> Result:
        try:
            return question()
        except OutOfTime:
            found.append(finding("not-checked", source, f"{what}: not known within {limits.seconds:g} seconds"))
            return otherwise

    nothing: tuple[int, list[Finding]] = (0, [])
    no_sample: list[Mapped] = []
    read, of_rows = attempt("rows", lambda: row_findings(queries, mapping, scope), nothing)
    found += of_rows
    if scope.whole and read:
        facts.rows, facts.exact = read, True
    found += attempt("look-ups", lambda: list(lookup_findings(queries, mapping, scope, facts.rows)), [])
    items = 0
    if counts(mapping):
        items, of_keys = attempt("keys", lambda: key_findings(queries, mapping, scope), KeyCounts(0, []))
        found += of_keys
        facts.heaviest = attempt("partitions", lambda: partitions(queries, mapping, scope, read), [])
        found += partition_findings(mapping, facts.heaviest)
        if mapping.shape == "group":
            found += attempt("groups", lambda: list(group_findings(queries, mapping, scope)), [])
    else:
        found += uncounted_findings(queries, mapping)
    sample = attempt("sample", lambda: mapped_sample(queries, mapping, ROWS), no_sample)
    found += name_findings(mapping, sample)
    known = {each.code for each in found if each.place == source and each.severity == ERROR}
    if not known & _EXPLAIN_REFUSALS:
        found += _of_mapped_rows(queries, mapping, scope, facts, sample)
    facts.sizes = item_sizes(sample)
    facts.items = _items(facts)
    if facts.sizes:
        found += collection_findings(mapping, facts.heaviest, facts.sizes.bytes * facts.items)
    if items and scope.whole:
        facts.items, facts.sizes = float(items), facts.sizes and corrected(facts.sizes, read / items)
    _recent(report, mapping, facts)
    attempt("changed items", lambda: _changed(queries, mapping, report, facts), None)
    return facts


def _why_regrouped(mapping: TableMapping) -> str:
    return 'load_order = "spread"' if mapping.aligned else "the group key is not a prefix of the primary key"


def _of_mapped_rows(
    queries: TimedQueries, mapping: TableMapping, scope: Scope, facts: TableFacts, sample: list[Mapped]
) -> list[Finding]:
    """What mapping the rows themselves finds: all of them if they are few or cannot be counted by the server."""
    counted = counts(mapping) and not mapping.seen.uses
    limit = min(SCANNED_ANYWAY if counted else SCANNED, bearable_rows(queries, mapping.table))
    if scope.whole and facts.rows <= limit:
        try:
            return scanned(queries, mapping)
        except OutOfTime:
            pass  # said below
    found = refused(mapping, sample)
    if not counted:
        found.append(
            finding("sample-only", mapping.source, "it has a filter, or columns that are computed, masked or looked up")
        )
    return found


def _access(
    project: Project, connection: Mysql, limits: CheckLimits, mappings: list[TableMapping], report: Report, origin: str
) -> None:
    """What serves the application's statements, as far as its tables could be mapped and read."""
    from whimbrel.checks.access.served import access_findings, access_of, sizes_of, spoken

    info = server_info(connection)
    said, found = spoken(origin, TimedQueries(connection, info, limits.seconds), project.source.database)
    sizes = {}
    by_name = {facts.source: facts for facts in report.tables}
    for mapping in mappings:
        queries = TimedQueries(connection, info, limits.seconds)
        facts = by_name.get(mapping.source) or TableFacts(mapping.source, mapping.target, 0, mapping.shape)
        sizes[mapping.source] = sizes_of(
            queries, mapping, scope_of(queries, mapping.table, facts.rows, limits.rows), facts
        )
    report.access = access_of(origin, said, mappings, sizes)
    report.findings += [*found, *access_findings(report.access)]


# What counting finds, mapping refuses row by row: that is said once.
_EXPLAIN_REFUSALS = {
    *("key-null", "key-empty", "key-too-long", "key-shared", "key-separator", "key-format", "entry-clash"),
    *("item-too-large", "number-range", "type-refused"),
}


def _items(facts: TableFacts) -> float:
    return facts.rows / facts.sizes.rows if facts.sizes else 0.0


def _recent(report: Report, mapping: TableMapping, facts: TableFacts) -> None:
    if report.writes:
        facts.recent_changes = report.writes.changes[mapping.source]
        facts.heaviest_writes = report.writes.partitions.get(mapping.source, Counter()).most_common(5)


def _changed(queries: TimedQueries, mapping: TableMapping, report: Report, facts: TableFacts) -> None:
    """What the recent writes to the table cost. Raises OutOfTime: then they are taken for writes of average items, as
    those are where look-ups decide which items they are.
    """
    writes = report.writes
    if writes and writes.seconds and facts.sizes and mapping.placed_by_others:
        facts.changed = ChangedItems(writes.changes[mapping.source], facts.sizes.write_units)
    written = writes.items.get(mapping.source) if writes else None
    if writes and written and writes.seconds and facts.sizes:
        facts.changed = ChangedItems(written.count, facts.sizes.write_units)
        facts.changed = changed_items(queries, mapping, written, facts.sizes)
        report.findings += large_group_findings(mapping.source, facts.changed, writes.seconds)


def _followed(report: Report) -> list[FollowedTable]:
    seconds = report.writes.seconds if report.writes else 0.0
    return [FollowedTable(facts.recent_changes, facts.changed, seconds) for facts in report.tables if facts.changed]


def _load(facts: TableFacts) -> TableLoad:
    if not facts.sizes:
        return TableLoad(0.0, 0.0, 0.0, 0.0)
    share = facts.heaviest[0].share if facts.heaviest else 0.0
    sizes = facts.sizes
    return TableLoad(facts.items, sizes.bytes, facts.items * sizes.write_units, sizes.json_bytes, share)


def _estimate(project: Project, report: Report, cost: Cost) -> None:
    """The cost, and what depends on the time that the load takes."""
    report.cost = replace(cost, engines=_engines(project, report, cost)) if report.tables else cost
    report.findings += cost_findings(cost, project.target)
    if report.source:
        seconds = (chosen_way(cost, project.target).hours or 0.0) * 3600
        rate = report.writes.bytes_per_second if report.writes else 0.0
        report.findings += retention_findings(report.source, seconds, rate)


def _engines(project: Project, report: Report, cost: Cost) -> Engines:
    writes = report.writes
    seconds = writes.seconds if writes and not writes.refused else 0.0
    works = [
        TableWork(
            facts.shape,
            float(facts.rows) if facts.sizes else 0.0,
            facts.recent_changes / seconds if seconds else 0.0,
            facts.items * facts.sizes.json_bytes if facts.sizes else 0.0,
        )
        for facts in report.tables
    ]
    window = f"in {seconds / 60:,.1f} minutes of {writes.origin}" if writes and seconds else ""
    lines = writes.lines if writes else []
    return engines_of(Measured(works, chosen_way(cost, project.target).hours, lines, window), known_prices(cost.prices))


def _region(project: Project) -> str:
    try:
        return Session(project.target).region or DEFAULT_REGION
    except WhimbrelError:
        return project.target.region or DEFAULT_REGION
