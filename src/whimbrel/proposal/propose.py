"""``whimbrel design``: from the live schema and the statements to a project file, that check takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from whimbrel.checks.access.served import Heard, heard_of, spoken
from whimbrel.checks.access.statements import SeenStatement
from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.cost import DEFAULT_REGION, Prices, read_prices
from whimbrel.checks.findings import ERROR, Finding
from whimbrel.checks.run import CheckLimits, table_findings
from whimbrel.errors import ProjectError, UserError, WhimbrelError
from whimbrel.lake.need import need
from whimbrel.mapping.design import compile_mapping
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import connect, server_info
from whimbrel.mysql.schema import read_table, table_names
from whimbrel.project import Project, Source, TableRule, Target
from whimbrel.proposal.placement import Names, Placed, names_of, plain_keys, rules_of
from whimbrel.proposal.reading import read_known
from whimbrel.proposal.result import DesignResult
from whimbrel.proposal.scale import Asking, Scale, asking
from whimbrel.proposal.search import Found, Search, roots
from whimbrel.proposal.told import designed_statements, designed_tables
from whimbrel.proposal.written import sections
from whimbrel.records import Table
from whimbrel.setup.project_file import Targets, Tls, head, one_line, refuse_output, source_of
from whimbrel.setup.reach import reach

TRIES = 8  # to find a design that the data allows
HOUR = 3600.0


class DesignLimits(NamedTuple):
    """``hours`` that the statements are of; ``seconds`` for the questions about one table, 0 for no limit."""

    hours: float = 24.0
    seconds: float = 60.0


def propose(
    url: str,
    wanted: tuple[str, ...],
    statements: str,
    output: Path,
    target: Target,
    limits: DesignLimits,
    prices: Path | None,
    tls: Tls,
) -> DesignResult:
    """Write ``output``. Raises ProjectError if it exists, or for prices or statements that cannot be read; UserError
    without sqlglot, or where no table can be moved; and SourceError.
    """
    need("sqlglot", "lake")
    refuse_output(output, target.endpoint)
    priced = read_prices(prices, target.region or DEFAULT_REGION)
    source, password = source_of(url, tls)
    if not source.database:
        raise ProjectError("the URL names no database", place="URL", hint="Write mysql://user@host:port/database.")
    source, tls_lines = reach(source, tls.mode, tls.ca)
    left_out: list[str] = []
    with closing(connect(source)) as connection:
        queries = TimedQueries(connection, server_info(connection), limits.seconds)
        said, found = spoken(statements, queries, source.database)
        if not said:
            why = found[0].reason if found else "it has no statements"
            raise ProjectError(why, place=statements, hint="Give a slow log, a general log, or a file of statements.")
        tables = _tables(connection, source, wanted, left_out)
        best = _Designer(connection, source, target, output, limits).design(tables, said, priced, left_out)
    text = head(source, tls_lines, target.endpoint) + _summary(best.result) + best.sections
    output.write_text(text + "".join(f"# {one_line(each)}\n" for each in left_out), encoding="utf-8")
    return replace(best.result, path=str(output), left_out=tuple(left_out), password_given=bool(password))


class _Designed(NamedTuple):
    result: DesignResult
    sections: str


class _Designer:
    def __init__(
        self, connection: SourceConnection, source: Source, target: Target, output: Path, limits: DesignLimits
    ) -> None:
        self.connection, self.source, self.target = connection, source, target
        self.output, self.limits = output, limits

    def design(
        self, tables: list[Table], said: Counter[SeenStatement], prices: Prices, left_out: list[str]
    ) -> _Designed:
        """Searched again without what a check of the data refuses, until it refuses nothing."""
        known = read_known(self.connection, tables, self.limits.seconds)
        refused: set[tuple[str, Placed]] = set()
        while tables:
            names = names_of(tables, _targets(tables))
            heard = heard_of(said, {each.full_name: each for each in tables})
            askings = askings_of(heard, self.limits.hours)
            scale = Scale({each.full_name: known[each.full_name] for each in tables}, askings, names, prices)
            scale.refused |= refused
            found = Search(scale).run()
            rules = rules_of_layout(found.best, tables, names)
            faults = self._faults(rules)
            if not faults:
                return _told(scale, found, rules, names, heard, prices)
            dropped = _refuse(found.best, faults, refused, len(refused) >= TRIES * len(known))
            left_out += [f"{name} is left out: {faults[name]}" for name in sorted(dropped)]
            tables = [each for each in tables if each.full_name not in dropped]
        raise UserError("no table that can be migrated", place=self.source.database, hint="Name another database.")

    def _faults(self, rules: list[TableRule]) -> dict[str, str]:
        """By source table, what check would call an error."""
        project = Project(self.output, self.output / "none", self.source, self.target, tuple(rules))
        limits = CheckLimits(seconds=self.limits.seconds)
        errors = [each for each in table_findings(project, self.connection, limits) if each.severity == ERROR]
        sources = {rule.source for rule in rules}
        found: dict[str, str] = {}
        for each in errors:
            found.setdefault(_source_of(each, sources), f"{each.reason} [{each.code}]")
        return found


def _source_of(finding: Finding, sources: Iterable[str]) -> str:
    """The table that a finding is about. An error about none would be a bug of the proposal."""
    for name in sorted(sources, key=len, reverse=True):
        if name in finding.place:
            return name
    raise UserError(f"{finding.reason}", place=finding.place, hint=finding.remedy)


def _refuse(
    layout: Mapping[str, Placed], faults: Mapping[str, str], refused: set[tuple[str, Placed]], enough: bool
) -> set[str]:
    """Notes the places that are not to be tried again; gives the tables that have no other."""
    dropped = set()
    for name in faults:
        under = [each for each, placed in layout.items() if placed.placement.parent == name]
        if layout[name] != Placed() and not enough:
            refused.add((name, layout[name]))
        elif under and not enough:
            refused.update((each, layout[each]) for each in under)
        else:
            dropped.add(name)
    return dropped


def rules_of_layout(layout: Mapping[str, Placed], tables: Iterable[Table], names: Names) -> list[TableRule]:
    by_name = {table.full_name: table for table in tables}
    return [rule for root in roots(dict(layout)) for rule in rules_of(root, layout, by_name, names)]


def askings_of(heard: Heard, hours: float) -> list[Asking]:
    """What is asked, each pattern once, by the rate of so many hours."""
    return [
        asking(number, heard.parsed[text], heard.counts[text] / (hours * HOUR))
        for number, text in enumerate(sorted(heard.parsed))
    ]


def _tables(connection: SourceConnection, source: Source, wanted: tuple[str, ...], left_out: list[str]) -> list[Table]:
    """Those that can be mapped at all. Raises what is wrong with one that was asked for by name."""
    found = []
    for name in wanted or table_names(connection, source.database):
        try:
            table = read_table(connection, source.database, name)
            partition, sort = plain_keys(table)
            compile_mapping(TableRule(table.full_name, "any", "record", partition, sort), table)
            found.append(table)
        except WhimbrelError as error:
            if wanted:
                raise
            left_out.append(f"{name} is left out: {error}")
    return found


def _targets(tables: Iterable[Table]) -> dict[str, str]:
    names, found = Targets(), {}
    for table in tables:
        found[table.full_name] = names.name_for(table.name)
        names.take(found[table.full_name])
    return found


def _told(scale: Scale, found: Found, rules: list[TableRule], names: Names, heard: Heard, prices: Prices) -> _Designed:
    statements, tables = designed_statements(scale, found), designed_tables(scale, found, names)
    result = DesignResult(
        path="",
        dollars=scale.total(found.best),
        indexed_dollars=scale.total(found.indexed),
        plain_dollars=scale.total(found.plain),
        prices=_prices(prices),
        tables=tuple(tables),
        statements=tuple(statements),
        unread=tuple(sorted(heard.unread, key=lambda one: (-one[1], one[0]))),
        other=heard.other,
        left_out=(),
        password_given=False,
    )
    return _Designed(result, sections(rules, {each.source: each for each in tables}, statements))


def _prices(prices: Prices) -> str:
    if prices.write_million is None or prices.storage_gb is None:
        return f"not all known for {prices.region}: those of {DEFAULT_REGION} stand for them"
    return f"of {prices.as_of} in {prices.region}: check them"


def _summary(result: DesignResult) -> str:
    return (
        f"# Proposed by whimbrel design: ${result.dollars:,.2f} a month on demand, prices {result.prices}.\n"
        f"# One table for each table: ${result.indexed_dollars:,.2f} with the indexes that its statements want, "
        f"${result.plain_dollars:,.2f} without.\n"
        "# What is proposed and how it is reckoned: docs/design.md. It is advice: `whimbrel check` says "
        "what would go wrong.\n\n"
    )
