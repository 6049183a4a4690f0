"""The project file (``whimbrel.toml``) as one frozen Project; each module gets only its part."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from whimbrel.errors import ProjectError
from whimbrel.project.check import Check, read_check
from whimbrel.project.cutover import Cutover, read_cutover
from whimbrel.project.lake import Lake, read_lake
from whimbrel.project.metrics import MetricsAddress, read_metrics
from whimbrel.project.predict import ModelRule, Predict, read_predict, sagemaker_faults
from whimbrel.project.renew import RenewalRule
from whimbrel.project.section import Section
from whimbrel.project.source import NO_SOURCE, PASSWORD_VARIABLE, Source, read_source, split_url
from whimbrel.project.spark import Spark, read_spark
from whimbrel.project.store import Store, read_loader, read_store
from whimbrel.project.stream import LEAST_CAP, Stream, read_stream
from whimbrel.project.table import (
    ConditionRule,
    IndexKey,
    IndexRule,
    KeyRule,
    LookupRule,
    TableRule,
    TtlRule,
    read_table_rule,
)
from whimbrel.project.warehouse import ItemSilo, ReportRule, Silo, Warehouse, read_warehouse

__all__ = [
    "NO_SOURCE",
    "OFF",
    "PASSWORD_VARIABLE",
    "Check",
    "ConditionRule",
    "Cutover",
    "IndexKey",
    "IndexRule",
    "ItemSilo",
    "KeyRule",
    "Lake",
    "LookupRule",
    "MetricsAddress",
    "Predict",
    "Project",
    "ReportRule",
    "Silo",
    "Source",
    "Spark",
    "Store",
    "Stream",
    "TableRule",
    "Target",
    "TtlRule",
    "Warehouse",
    "split_url",
]


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach DynamoDB, and how fast it may be written and read."""

    endpoint: str = ""  # "" finds AWS by boto3's usual chain
    region: str = ""
    profile: str = ""
    max_write_units: float = 0.0  # per second; 0: no cap
    max_read_units: float = 0.0
    concurrency: int = 64  # requests in flight at most; adapted below that
    billing: str = "on-demand"  # or "provisioned"
    read_capacity: int = 0
    write_capacity: int = 0
    shared: tuple[str, ...] = ()  # target tables that others write to as well: only our own keys are looked at
    mark: str = "whimbrel"  # the table that says which state folder works on a target; "off": none


@dataclass(frozen=True, slots=True)
class Project:
    path: Path
    state: Path
    source: Source
    target: Target
    tables: tuple[TableRule, ...]
    lake: Lake = field(default_factory=Lake)
    predict: Predict = field(default_factory=Predict)
    check: Check = field(default_factory=Check)
    cutover: Cutover = field(default_factory=Cutover)
    dms: Path | None = None  # an AWS DMS table-mapping file instead of [[table]]
    stream: Stream | None = None  # the changes go there, and a function applies them
    workers: int = 0  # processes for one command's work; 0: as many as there are cores for it
    store: Store | None = None  # where the snapshot's files are; None: in the state folder
    loader: str = "process"  # or "import", or "spark": what makes items of them
    spark: Spark | None = None  # who runs the jobs that do
    metrics: MetricsAddress = field(default_factory=MetricsAddress)
    parallel_apply: bool = False  # whether ``workers`` apply the change log, too, while the target is far behind
    warehouse: Warehouse | None = None  # where the silos converge
    silos: tuple[Silo, ...] = ()
    item_silos: tuple[ItemSilo, ...] = ()


OFF = "off"  # as ``mark``


def load_project(path: str | os.PathLike[str]) -> Project:
    """Read the project file. Raises ProjectError with all faults of the file at once, one a line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProjectError(
            "there is no project file",
            place=str(path),
            hint="Make one with: whimbrel init mysql://… For a table in DynamoDB, a file with [target] is enough.",
        ) from None
    except OSError as error:
        raise ProjectError(
            f"cannot be read: {error.strerror}", place=str(path), hint="Name the project file itself."
        ) from None
    except UnicodeDecodeError as error:
        raise _no_toml(error, path) from None
    return parse_project(text, path)


def _no_toml(error: Exception, path: Path) -> ProjectError:
    return ProjectError(f"not readable as TOML: {error}", place=str(path), hint="Fix that line.")


def parse_project(text: str, path: Path) -> Project:
    """``text`` as that of the project file ``path``, which may have another. Raises as ``load_project`` does."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _no_toml(error, path) from None
    faults: list[str] = []
    top = Section(document, "", faults)
    # A project may be about the target alone: exports, SQL and predictions need no source.
    needs_source = any(map(top.has, ("source", "table", "dms")))
    store = read_store(top)
    source = _read_source(top.section("source")) if needs_source else NO_SOURCE
    warehouse, silos, item_silos = read_warehouse(top, path.parent)
    target = _read_target(top.section("target"))
    tables = numbered(read_table_rule(section, source.database) for section in top.optional_sections("table"))
    lake, predict, check = read_lake(top), read_predict(top), read_check(top, path.parent)
    cutover, stream = read_cutover(top), read_stream(top)
    workers, parallel_apply = _read_run(top.section("run"))
    loader = read_loader(top, store)
    spark, metrics = read_spark(top, loader, store), read_metrics(top)
    state = path.parent / top.string("state", ".whimbrel")
    dms = _read_dms(top, path.parent)
    top.finish()
    if cutover.route_item and target.mark == OFF:
        faults.append('cutover.route_item: needs the table of marks, and target.mark is "off"')
    faults += _stream_faults(stream, target)
    if stream and parallel_apply:
        faults.append('run.parallel_apply: has no effect with apply.engine = "lambda"')
    faults += sagemaker_faults(predict, in_s3=lake.store is not None)
    faults += _shared_faults(target, {rule.target for rule in tables}) if not dms else []
    if target.mark in {rule.target for rule in tables}:
        faults.append(f"target.mark: {target.mark!r} is the target of a [[table]]; the marks need a table of their own")
    if faults:
        raise ProjectError(
            "\n  " + "\n  ".join(faults), place=str(path), hint="\nFix these, then run the command again."
        )
    made = Project(
        *(path, state, source, target, tables, lake, predict, check, cutover, dms, stream, workers, store, loader),
        spark,
        metrics,
    )
    return replace(made, parallel_apply=parallel_apply, warehouse=warehouse, silos=silos, item_silos=item_silos)


def _shared_faults(target: Target, targets: set[str]) -> Iterator[str]:
    if target.shared and target.mark == OFF:
        yield 'target.shared: needs the table of marks, where each project says which keys it owns; mark is "off"'
    for name in target.shared:
        if name not in targets:
            yield f"target.shared: {name!r} is not the target of a [[table]]"


def numbered(rules: Iterable[TableRule]) -> tuple[TableRule, ...]:
    """The rules, those of a source that is in several numbered in their order."""
    rules = list(rules)
    sources = [rule.source for rule in rules]
    several = [bool(rule.source) and sources.count(rule.source) > 1 for rule in rules]
    return tuple(
        replace(rule, number=sources[: at + 1].count(rule.source) if several[at] else 0)
        for at, rule in enumerate(rules)
    )


def _stream_faults(stream: Stream | None, target: Target) -> Iterator[str]:
    if stream and target.mark == OFF:
        yield 'log.engine: "kinesis" needs the table of marks, and target.mark is "off"'
    if stream and 0 < target.max_write_units < LEAST_CAP:
        yield f'target.max_write_units: must be {LEAST_CAP} at least with apply.engine = "lambda": lanes share it'


def rule_named(project: Project, name: str) -> TableRule:
    """The one [[table]] section of ``name``. Raises ProjectError if there is none, or another database's too."""
    [rule, *others] = select_rules(project, (name,))
    if others:
        listed = ", ".join(each.name for each in (rule, *others))
        hint = "Name it with its database, and one of several sections of a table with its number."
        raise ProjectError(f"{name} could be {listed}", place=str(project.path), hint=hint)
    return rule


def models_named(project: Project, name: str) -> list[ModelRule]:
    """The [[model]] section of ``name``, or all. Raises ProjectError where there is none."""
    rules = [rule for rule in project.predict.models if not name or rule.name == name]
    if not rules:
        there = ", ".join(rule.name for rule in project.predict.models) or "none"
        message = f"there is no [[model]] called {name!r}" if name else "there is no [[model]]"
        raise ProjectError(message, place=str(project.path), hint=f"The models are: {there}. See docs/predict.md.")
    return rules


def renewals_named(project: Project, model: str) -> tuple[RenewalRule, ...]:
    """The rule for ``model``, or all. Raises ProjectError where there is none, or none of the model that one names."""
    rules = tuple(rule for rule in project.predict.renewals if not model or rule.model == model)
    if not rules:
        wanted = f"[[renewal]] for {model!r}" if model else "[[renewal]]"
        raise ProjectError(f"there is no {wanted}", place=str(project.path), hint="Write one; see docs/renew.md.")
    for rule in rules:
        models_named(project, rule.model)
    return rules


def select_rules(project: Project, names: tuple[str, ...]) -> list[TableRule]:
    """The [[table]] sections of ``names``, each with or without its database; all if there are none.

    Raises ProjectError for a name that is not there.
    """
    if unknown := [name for name in names if not any(_is_named(project, rule, name) for rule in project.tables)]:
        listed = ", ".join(rule.name for rule in project.tables)
        raise ProjectError(
            f"there is no [[table]] for {unknown[0]}", place=str(project.path), hint=f"There are: {listed}"
        )
    return [rule for rule in project.tables if not names or any(_is_named(project, rule, name) for name in names)]


def _is_named(project: Project, rule: TableRule, name: str) -> bool:
    """With or without its database, which may have a dot in its own name if it is the URL's."""
    named = [rule.source, rule.source.partition(".")[2], rule.source.removeprefix(f"{project.source.database}.")]
    return name in named or (bool(rule.number) and name in [f"{each}#{rule.number}" for each in named])


def _read_dms(top: Section, folder: Path) -> Path | None:
    name = top.string("dms", "")
    if name and top.has("table"):
        top.fault("dms", "names a DMS file, but there are [[table]] sections too: use one or the other")
    return folder / name if name else None


def _read_source(section: Section) -> Source:
    source = read_source(section)
    section.finish()
    return source


def _read_target(section: Section) -> Target:
    default = Target()
    target = Target(
        endpoint=section.address("endpoint"),
        region=section.string("region", default.region),
        profile=section.string("profile", default.profile),
        max_write_units=section.number("max_write_units", default.max_write_units),
        max_read_units=section.number("max_read_units", default.max_read_units),
        concurrency=section.integer("concurrency", default.concurrency, least=1),
        billing=section.one_of("billing", ("on-demand", "provisioned")),
        read_capacity=section.integer("read_capacity", default.read_capacity),
        write_capacity=section.integer("write_capacity", default.write_capacity),
        shared=tuple(section.strings("shared")),
        mark=section.string("mark", default.mark),
    )
    if not re.fullmatch(r"[a-zA-Z0-9_.-]{3,255}", target.mark):
        section.fault("mark", f'must be the name of a DynamoDB table, or "off", not {target.mark!r}')
    if target.billing == "provisioned" and not (target.read_capacity and target.write_capacity):
        section.fault("billing", "provisioned needs read_capacity and write_capacity")
    section.finish()
    return target


def _read_run(section: Section) -> tuple[int, bool]:
    workers = section.integer("workers", 1, least=1) if section.has("workers") else 0
    parallel_apply = section.truth("parallel_apply")
    section.finish()
    return workers, parallel_apply
