"""``[warehouse]`` and ``[[silo]]``: several sources that converge in one warehouse, each in a schema of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from whimbrel.project.password import read_password
from whimbrel.project.section import Section
from whimbrel.project.source import PASSWORD_VARIABLE, Source, read_source
from whimbrel.project.store import Store, store_of, why_not

ENGINES = ("duckdb", "postgres", "redshift")
WAREHOUSE_PASSWORD = "WHIMBREL_WAREHOUSE_PASSWORD"
BY_DATA_API = "redshift-data://"
TLS = ("preferred", "off", "required", "verify")
NEW_COLUMNS, DROPPED_COLUMNS = ("include", "ignore", "stop"), ("keep", "stop")
DELETES = ("remove", "mark")
ZERO_DATES = ("stop", "text", "null")
AS_TYPES = ("text", "bytes")
CHARTS = ("none", "bar", "line")
CHUNK_ROWS = 50_000  # by default, of a silo: each chunk takes as much CPU as a thousand rows, and is loaded in pieces
_SILO_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OURS = {"whimbrel", "reports"}  # schemas
# And those that engines have already.
_TAKEN = _OURS | {"main", "temp", "system", "public", "information_schema", "catalog_history"}


@dataclass(frozen=True, slots=True)
class ReportRule:
    """A named question over the silos, whose answer is made again after each batch: a table, or a view.

    ``chart`` is one of CHARTS: of the column ``up``. ``across`` is what a line's axis is called.
    """

    name: str
    sql: str
    title: str = ""
    view: bool = False
    chart: str = "none"
    across: str = ""
    up: str = ""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Where rows go. ``path`` is the file of DuckDB, None where a server is meant, which the other fields say how to
    reach. Changes are written every ``batch_seconds`` while a source is followed. ``page`` is an HTML file with the
    ``reports``.
    """

    engine: str
    path: Path | None = None
    host: str = ""
    port: int = 5432
    user: str = ""
    database: str = ""
    password: str = field(default="", repr=False)
    password_env: str = ""  # the variable that it is read from, "" for a file or none
    tls: str = "preferred"  # one of TLS
    tls_ca: str = ""
    stage: Store | None = None  # of Redshift: where rows are put for COPY, and as which role it reads them
    role: str = ""
    workgroup: str = ""  # of Redshift by the Data API: one of the two
    cluster: str = ""
    batch_seconds: float = 10.0
    memory: int = 192 << 20  # bytes that DuckDB may have; what is more goes to its folder for temporary files
    reports: tuple[ReportRule, ...] = ()
    page: Path | None = None

    @property
    def by_data_api(self) -> bool:
        return bool(self.workgroup or self.cluster)

    @property
    def place(self) -> str:
        if self.by_data_api:
            return f"{self.workgroup or self.cluster}/{self.database}"
        return str(self.path) if self.path else f"{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class Silo:
    """One source of the warehouse. ``tables`` are those of the source's database, () for all but ``exclude``.

    ``names`` are other names in the warehouse, by table or table.column; ``types`` other types, by table.column.
    """

    name: str
    source: Source
    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)  # one of AS_TYPES each
    new_columns: str = "include"  # one of NEW_COLUMNS
    dropped_columns: str = "keep"  # one of DROPPED_COLUMNS
    zero_dates: str = "stop"  # one of ZERO_DATES
    deletes: str = "remove"  # one of DELETES
    password_env: str = ""  # the variable that the source's password is read from, "" for a file
    history: bool = False  # one row for each version of a row

    @property
    def keeps(self) -> str:
        """What of a row stays: "" what it is, "deleted" also once it is gone, "history" all that it was."""
        return "history" if self.history else "deleted" if self.deletes == "mark" else ""


@dataclass(frozen=True, slots=True)
class ItemSilo:
    """Tables of DynamoDB, which go through the lake. ``every`` is how often, in seconds, while they are followed."""

    name: str
    tables: tuple[str, ...]
    every: float = 300.0


def read_warehouse(top: Section, folder: Path) -> tuple[Warehouse | None, tuple[Silo, ...], tuple[ItemSilo, ...]]:
    """A path is relative to the project file. What is wrong goes to the section's faults."""
    found = [_read_silo(section) for section in top.optional_sections("silo")]
    silos = tuple(silo for silo in found if isinstance(silo, Silo))
    of_items = tuple(silo for silo in found if isinstance(silo, ItemSilo))
    if not top.has("warehouse"):
        top.section("warehouse")
        if top.optional_sections("report"):
            top.fault("report", "needs a [warehouse]")
        if found:
            top.fault("silo", 'needs a [warehouse], for example engine = "duckdb" and url = "warehouse.duckdb"')
        return None, silos, of_items
    if not found:
        top.fault("warehouse", "has no [[silo]] that would converge in it")
    names = [silo.name for silo in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        top.fault("silo", f"the name {name!r} is used in more than one [[silo]]")
    reports = tuple(_read_report(section, folder) for section in top.optional_sections("report"))
    named = [report.name for report in reports]
    for name in sorted({name for name in named if named.count(name) > 1}):
        top.fault("report", f"the name {name!r} is used in more than one [[report]]")
    warehouse = _read_warehouse(top.section("warehouse"), folder)
    if warehouse.path and (database := warehouse.path.name.lstrip(".").partition(".")[0]).lower() in {*names, *_OURS}:
        fault = f"url: DuckDB calls the database {database!r}, as a schema in it is called; give the file another name"
        top.fault("warehouse", fault)
    return replace(warehouse, reports=reports), silos, of_items


def _read_report(section: Section, folder: Path) -> ReportRule:
    name, file = section.required("name"), section.string("sql_file", "")
    report = ReportRule(
        name=name,
        sql=_text_of(section, folder / file) if file else section.required("sql"),
        title=section.string("title", ""),
        view=section.flag("view", False),
        chart=section.one_of("chart", CHARTS),
        across=section.string("across", ""),
        up=section.string("up", ""),
    )
    if name and not _SILO_NAME.fullmatch(name):
        section.fault("name", f"must be of lower-case letters, digits and _, not {name!r}")
    if file and section.has("sql"):
        section.fault("sql_file", "has no effect beside sql")
    if (report.chart == "none") == bool(report.up):
        section.fault("up", "must name the column that a chart is of, and has no effect without one")
    if report.across and report.chart != "line":
        section.fault("across", 'has no effect without chart = "line"')
    section.finish()
    return report


def _text_of(section: Section, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip().rstrip(";")
    except (OSError, UnicodeDecodeError) as error:
        section.fault("sql_file", f"{str(file)!r} cannot be read: {error}")
        return ""


def _read_warehouse(section: Section, folder: Path) -> Warehouse:
    engine, url = section.one_of("engine", ENGINES), section.required("url")
    variable = section.string("password_env", WAREHOUSE_PASSWORD)
    password = read_password(section, "password_file", variable)
    page = section.string("page", "")
    settings: dict[str, Any] = {
        "batch_seconds": section.number("batch_seconds", Warehouse("").batch_seconds),
        "page": folder / page if page else None,
        "memory": section.integer("memory", Warehouse("").memory, least=64 << 20),
    }
    tls, tls_ca = section.one_of("tls", TLS), section.string("tls_ca", "")
    if engine == "duckdb":
        if "://" in url:
            section.fault("url", 'must be the path of a file for engine = "duckdb"')
        for key in ("password_file", "password_env", "tls", "tls_ca"):
            if section.has(key):
                section.fault(key, 'has no effect with engine = "duckdb", which is a file')
        section.finish()
        return Warehouse(engine, path=folder / url, **settings)
    if section.has("memory"):
        section.fault("memory", 'has no effect without engine = "duckdb"')
    settings |= _stage(section, engine)
    if tls_ca and tls != "verify":
        section.fault("tls_ca", f'has no effect with tls = "{tls}": it needs tls = "verify"')
    if url.startswith(BY_DATA_API) and engine == "redshift":
        for key in ("password_file", "password_env", "tls", "tls_ca"):
            if section.has(key):
                section.fault(key, "has no effect with the Data API, which takes the credentials of AWS")
        settings |= _data_api(section, url)
    else:
        settings |= _server(section, url, engine) if url else {}
        settings["password_env"] = "" if section.has("password_file") else variable
    section.finish()
    return Warehouse(engine, password=password, tls=tls, tls_ca=tls_ca, **settings)


def _stage(section: Section, engine: str) -> dict[str, Any]:
    """``stage``, ``stage_endpoint`` and ``role``: what a COPY of Redshift needs."""
    url, endpoint, role = section.string("stage", ""), section.address("stage_endpoint"), section.string("role", "")
    if engine != "redshift":
        for key in ("stage", "stage_endpoint", "role"):
            if section.has(key):
                section.fault(key, 'has no effect without engine = "redshift"')
        return {}
    stage = store_of(url, endpoint)
    if stage is None:
        section.fault("stage", f"{why_not(url)}: rows are put there for COPY")
    if not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+", role):
        section.fault("role", "must be the ARN of the role with which Redshift reads the stage")
    return {"stage": stage, "role": role}


def _data_api(section: Section, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    place, user, database = parts.hostname or "", unquote(parts.username or ""), unquote(parts.path.lstrip("/"))
    if not (place and database) or parts.password or parts.query or parts.fragment:
        section.fault("url", f"must be {BY_DATA_API}workgroup/database, or {BY_DATA_API}user@cluster/database")
    named = {"cluster": place, "user": user} if user else {"workgroup": place}
    return {**named, "database": database}


def _server(section: Section, url: str, engine: str) -> dict[str, Any]:
    schemes = ("redshift",) if engine == "redshift" else ("postgresql", "postgres")
    wanted = f"must be {schemes[0]}://user@host:port/database"
    wanted += f", or {BY_DATA_API}workgroup/database" if engine == "redshift" else ""
    try:
        parts = urlsplit(url)
        port = parts.port or (5439 if engine == "redshift" else 5432)
    except ValueError:
        section.fault("url", wanted)
        return {}
    database = unquote(parts.path.lstrip("/"))
    if parts.scheme not in schemes or not (parts.hostname and parts.username and database):
        section.fault("url", wanted)
    elif parts.password:
        section.fault("url", f"has a password in it; set the environment variable {WAREHOUSE_PASSWORD} instead")
    elif parts.query or parts.fragment:
        section.fault("url", f"{wanted}, without anything behind the database")
    return {"host": parts.hostname or "", "port": port, "user": unquote(parts.username or ""), "database": database}


def _read_silo(section: Section) -> Silo | ItemSilo:
    name = section.required("name")
    for reason in _name_faults(name):
        section.fault("name", reason)
    if section.has("dynamodb"):
        items = ItemSilo(name, tuple(section.strings("dynamodb")), section.number("every", ItemSilo("", ()).every))
        if not items.tables:
            section.fault("dynamodb", "names no table")
        if len({table.lower() for table in items.tables}) < len(items.tables):
            reason = "has two tables of one name, or that differ only in case, which the warehouse does not tell apart"
            section.fault("dynamodb", f"{reason}: write another [[silo]]")
        section.finish()
        return items
    silo = Silo(
        name=name,
        source=read_source(section, CHUNK_ROWS),
        tables=tuple(section.strings("tables")),
        exclude=tuple(section.strings("exclude")),
        names=section.string_map("names"),
        types=section.string_map("types", AS_TYPES),
        new_columns=section.one_of("new_columns", NEW_COLUMNS),
        dropped_columns=section.one_of("dropped_columns", DROPPED_COLUMNS),
        zero_dates=section.one_of("zero_dates", ZERO_DATES),
        deletes=section.one_of("deletes", DELETES),
        history=section.flag("history", False),
        password_env="" if section.has("password_file") else section.string("password_env", PASSWORD_VARIABLE),
    )
    for key, reason in _faults(silo):
        section.fault(key, reason)
    section.finish()
    return silo


def _name_faults(name: str) -> Iterator[str]:
    if name and not _SILO_NAME.fullmatch(name):
        yield f"must be of lower-case letters, digits and _, and at most 63 of them, not {name!r}"
    if name in _TAKEN or name.startswith("pg_"):
        yield f"{name!r} is a schema that the warehouse has for itself"


def _faults(silo: Silo) -> Iterator[tuple[str, str]]:
    if silo.history and silo.deletes == "mark":
        yield "deletes", "has no effect with history, which has the time at which a row went"
    if silo.tables and silo.exclude:
        yield "exclude", "has no effect beside tables"
    if not silo.source.database and silo.source.host:
        yield "url", "names no database: write mysql://user@host:port/database"
