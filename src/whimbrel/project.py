"""The project file (``whimbrel.toml``) as one frozen Project; each module gets only its part."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from whimbrel.errors import ProjectError


@dataclass(frozen=True, slots=True)
class Source:
    """How to reach MySQL or MariaDB, and how gently to read it."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    socket: str = ""
    tls: str = "preferred"  # off | preferred | required | verify
    tls_ca: str = ""
    server_id: int = 0  # ours as a replica; 0 picks one
    connections: int = 4  # snapshot connections
    chunk_rows: int = 50_000
    max_rows_per_second: int = 0  # 0: no cap
    max_threads_running: int = 0  # pause the snapshot above it; 0: never
    max_replica_lag: float = 0.0  # seconds; pause the snapshot above it; 0: never


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach DynamoDB, and how fast it may be written and read."""

    endpoint: str = ""  # "" finds AWS by boto3's usual chain
    region: str = ""
    profile: str = ""
    max_write_units: float = 0.0  # per second; 0: no cap
    max_read_units: float = 0.0
    concurrency: int = 32  # requests in flight at most; adapted below that
    billing: str = "on-demand"  # or "provisioned"
    read_capacity: int = 0
    write_capacity: int = 0


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One key attribute of the target: its name, its type (S, N or B), and the template that fills it."""

    name: str
    value: str
    type: str = "S"


@dataclass(frozen=True, slots=True)
class TableRule:
    """How one source table becomes items. ``shape`` is ``record`` or ``group``.

    ``attributes`` adds (name, template) string attributes; in a group only from columns that determine the item's key.
    ``entry_name`` is the template that names a row's entry in a group; ``entry_value`` is a column, or "" for a map of
    all columns that are not excluded. ``types`` overrides the DynamoDB type of a column: S, N, B, BOOL.
    ``nulls``: ``null`` writes {"NULL": true}, ``omit`` leaves the attribute out (record only).
    """

    source: str
    target: str
    shape: str
    partition_key: KeyRule
    sort_key: KeyRule | None = None
    entry_name: str = ""
    entry_value: str = ""
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    nulls: str = "null"


@dataclass(frozen=True, slots=True)
class Project:
    path: Path
    state: Path
    source: Source
    target: Target
    tables: tuple[TableRule, ...]


FILE_NAME = "whimbrel.toml"
PASSWORD_VARIABLE = "WHIMBREL_SOURCE_PASSWORD"


def load_project(path: Path) -> Project:
    """Read the project file. Raises ProjectError with all faults of the file at once, one a line."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            "there is no project file", place=str(path), hint="Make one with: whimbrel init mysql://…"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"not readable as TOML: {error}", place=str(path), hint="Mend the line that it names."
        ) from None
    faults: list[str] = []
    top = _Section(document, "", faults)
    source = _read_source(top.section("source"))
    target = _read_target(top.section("target"))
    tables = tuple(_read_table(section, source.database) for section in top.sections("table"))
    state = path.parent / top.text("state", ".whimbrel")
    top.finish()
    faults += _repeated("source", [rule.source for rule in tables]) + _repeated(
        "target", [rule.target for rule in tables]
    )
    if faults:
        raise ProjectError("\n  " + "\n  ".join(faults), place=str(path), hint="\nMend these, then run it again.")
    return Project(path=path, state=state, source=source, target=target, tables=tables)


def split_url(url: str) -> tuple[dict[str, Any], str]:
    """``mysql://user:password@host:port/database`` as settings for Source, and the password apart.

    Raises ProjectError when it is no such URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 3306
    except ValueError:
        raise ProjectError(
            "the port is not a number", place=_without_password(url), hint="Write mysql://user@host:3306/database."
        ) from None
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or not parts.username:
        raise ProjectError(
            "this is not a source URL", place=_without_password(url), hint="Write mysql://user@host:port/database."
        )
    database = unquote(parts.path.lstrip("/"))
    settings = {"host": parts.hostname, "port": port, "user": unquote(parts.username), "database": database}
    return settings, unquote(parts.password or "")


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", url)


def _read_source(section: _Section) -> Source:
    url = section.text("url", "")
    settings: dict[str, Any] = {"host": "", "port": 3306, "user": "", "database": ""}
    if not url:
        section.fault("url", 'is missing; write url = "mysql://user@host:port/database"')
    else:
        try:
            settings, password = split_url(url)
        except ProjectError as error:
            section.fault("url", str(error))
        else:
            if password:
                section.fault(
                    "url", f"has a password in it; take it out and set the environment variable {PASSWORD_VARIABLE}"
                )
    password_variable = section.text("password_env", PASSWORD_VARIABLE)
    source = Source(
        **settings,
        password=_password(section, password_variable),
        socket=section.text("socket", ""),
        tls=section.one_of("tls", ("preferred", "off", "required", "verify")),
        tls_ca=section.text("tls_ca", ""),
        server_id=section.whole("server_id", 0),
        connections=section.whole("connections", 4, least=1),
        chunk_rows=section.whole("chunk_rows", 50_000, least=1),
        max_rows_per_second=section.whole("max_rows_per_second", 0),
        max_threads_running=section.whole("max_threads_running", 0),
        max_replica_lag=section.number("max_replica_lag", 0.0),
    )
    section.finish()
    return source


def _password(section: _Section, variable: str) -> str:
    file = section.text("password_file", "")
    if not file:
        return os.environ.get(variable, "")
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        section.fault("password_file", f"{file!r} cannot be read: {error.strerror}")
        return ""


def _read_target(section: _Section) -> Target:
    target = Target(
        endpoint=section.text("endpoint", ""),
        region=section.text("region", ""),
        profile=section.text("profile", ""),
        max_write_units=section.number("max_write_units", 0.0),
        max_read_units=section.number("max_read_units", 0.0),
        concurrency=section.whole("concurrency", 32, least=1),
        billing=section.one_of("billing", ("on-demand", "provisioned")),
        read_capacity=section.whole("read_capacity", 0),
        write_capacity=section.whole("write_capacity", 0),
    )
    if target.billing == "provisioned" and not (target.read_capacity and target.write_capacity):
        section.fault("billing", "provisioned needs read_capacity and write_capacity")
    section.finish()
    return target


def _read_table(section: _Section, database: str) -> TableRule:
    source = section.required("source")
    if source and "." not in source:
        source = f"{database}.{source}"
    shape = section.one_of("shape", ("record", "group"))
    entry = section.section("entry") if shape == "group" else None
    rule = TableRule(
        source=source,
        target=section.required("target"),
        shape=shape,
        partition_key=_read_key(section.section("partition_key")),
        sort_key=_read_key(section.section("sort_key")) if section.has("sort_key") else None,
        entry_name=entry.required("name") if entry else "",
        entry_value=entry.text("value", "") if entry else "",
        exclude=tuple(section.texts("exclude")),
        rename=section.text_map("rename"),
        types=section.text_map("types", allowed=("S", "N", "B", "BOOL")),
        attributes=section.text_map("attributes"),
        nulls=section.one_of("nulls", ("null", "omit")),
    )
    if entry:
        entry.finish()
    section.finish()
    return rule


def _read_key(section: _Section) -> KeyRule:
    name = section.required("name")
    rule = KeyRule(name=name, value=section.text("value", f"${{{name}}}"), type=section.one_of("type", ("S", "N", "B")))
    section.finish()
    return rule


def _repeated(what: str, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    return [f"table: {what} {name!r} stands in more than one [[table]]" for name in twice]


class _Section:
    """One TOML table that is read key by key; what is wrong with it goes to ``faults``."""

    def __init__(self, values: dict[str, Any], place: str, faults: list[str]) -> None:
        self._values = values
        self._place = place
        self._faults = faults
        self._known: list[str] = []

    def fault(self, key: str, reason: str) -> None:
        self._faults.append(f"{self._place}{key}: {reason}")

    def has(self, key: str) -> bool:
        return key in self._values

    def section(self, key: str) -> _Section:
        value = self._take(key, {}, dict, "a table")
        return _Section(value, f"{self._place}{key}.", self._faults)

    def sections(self, key: str) -> list[_Section]:
        values = self._take(key, [], list, f"written as [[{key}]]")
        if not values:
            self.fault(key, f"is missing; write one [[{key}]] for each source table")
        return [
            _Section(value, f"{key} {value.get('source', number)}: ", self._faults)
            for number, value in enumerate(values, 1)
            if isinstance(value, dict)
        ]

    def text(self, key: str, default: str) -> str:
        return str(self._take(key, default, str, "a text"))

    def required(self, key: str) -> str:
        value = self.text(key, "")
        if not value and (key not in self._values or self._values[key] == ""):
            self.fault(key, "is missing")
        return value

    def texts(self, key: str) -> list[str]:
        values = self._take(key, [], list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            self.fault(key, f"must be a list of texts, not {values!r}")
            return []
        return list(values)

    def text_map(self, key: str, allowed: tuple[str, ...] = ()) -> dict[str, str]:
        values = self._take(key, {}, dict, "a table of texts")
        for name, value in values.items():
            if not isinstance(value, str) or (allowed and value not in allowed):
                self.fault(f"{key}.{name}", f"must be {_listed(allowed) if allowed else 'a text'}, not {value!r}")
        return {name: value for name, value in values.items() if isinstance(value, str)}

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """The first of ``allowed`` is the default."""
        value = self.text(key, allowed[0])
        if value not in allowed:
            self.fault(key, f"must be {_listed(allowed)}, not {value!r}")
            return allowed[0]
        return value

    def whole(self, key: str, default: int, least: int = 0) -> int:
        value = self._take(key, default, int, "a whole number")
        if value < least:
            self.fault(key, f"must be {least} or more, not {value}")
        return int(value)

    def number(self, key: str, default: float) -> float:
        value = self._take(key, default, (int, float), "a number")
        if value < 0:
            self.fault(key, f"must be 0 or more, not {value}")
        return float(value)

    def finish(self) -> None:
        """Name every key that nobody asked for: a misspelt setting must not be ignored."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                self.fault(key, "is not a setting" + (f"; did you mean {near[0]!r}?" if near else ""))

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], described: str) -> Any:
        self._known.append(key)
        value = self._values.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fault(key, f"must be {described}, not {value!r}")
            return default
        return value


def _listed(allowed: tuple[str, ...]) -> str:
    return " or ".join(repr(word) for word in allowed)
