"""A commented project file from the live schema."""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from whimbrel.dms.read import load_rules
from whimbrel.dms.toml import table_section as dms_section
from whimbrel.dms.toml import value
from whimbrel.errors import ProjectError, UserError, WhimbrelError
from whimbrel.item import MAX_KEY_NAME_BYTES, text_size
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration.dms_rules import translated_rules
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.schema import estimated_rows, find_table, read_table, table_names
from whimbrel.project import PASSWORD_VARIABLE, Source, TableRule, split_url
from whimbrel.project.section import NO_USER, Section
from whimbrel.project.table import read_table_rule
from whimbrel.records import Column, Table
from whimbrel.setup.reach import reach

NUMBERS = ("int", "year", "bit", "decimal", "float", "double")
BYTES = ("binary", "geometry")
LEAST, MOST = 3, 255  # characters of a target's name


class Tls(NamedTuple):
    """What was asked for on the command line: a mode and files, or ""."""

    mode: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class InitResult:
    """The project file that was written, with how many tables; ``left_out`` says why others are not in it.

    ``password_given``: the URL had a password, which is not in the file.
    """

    path: str
    tables: int
    left_out: tuple[str, ...]
    password_given: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def init(url: str, wanted: tuple[str, ...], output: Path, endpoint: str, tls: Tls) -> InitResult:
    """Write ``output``. Raises ProjectError when it exists: a mapping that somebody wrote is not overwritten."""
    refuse_output(output, endpoint)
    source, password = source_of(url, tls)
    if not source.database:
        raise ProjectError("the URL names no database", place="URL", hint="Write mysql://user@host:port/database.")
    source, tls_lines = reach(source, tls.mode, tls.ca)
    sections, left_out = [], []
    with closing(connect(source)) as connection:
        targets = Targets()
        for name in wanted or table_names(connection, source.database):
            try:
                table = read_table(connection, source.database, name)
                sections.append(_checked_section(connection, table, targets))
            except WhimbrelError as error:
                if wanted:
                    raise
                left_out.append(f"{name} is left out: {error}")
    if not sections:
        raise UserError("no table that can be migrated", place=source.database, hint="Name another database.")
    comments = [f"# {one_line(each)}\n" for each in left_out]
    output.write_text(head(source, tls_lines, endpoint) + "\n".join(sections + comments), encoding="utf-8")
    return InitResult(str(output), len(sections), tuple(left_out), bool(password))


def init_from_dms(
    url: str, rules_file: Path, wanted: tuple[str, ...], output: Path, endpoint: str, tls: Tls
) -> InitResult:
    """Write ``output`` with the ``[[table]]``s that say the same as the DMS file does for the live schema.

    Raises ProjectError with all that is wrong with the DMS file, and when ``output`` exists.
    """
    if wanted:
        raise UserError("the DMS file says which tables are moved", place="--table", hint="Leave it out.")
    refuse_output(output, endpoint)
    source, password = source_of(url, tls)
    rules = load_rules(rules_file)
    try:
        source, tls_lines = reach(source, tls.mode, tls.ca)
    except WhimbrelError:
        translated_rules(rules, source)  # raises what is wrong with the rules, if anything is
        raise
    translated = translated_rules(rules, source)
    notes = "".join(f"# note: {one_line(note)}\n" for note in translated.notes)
    sections = "\n".join(map(dms_section, translated.tables))
    output.write_text(
        f"{head(source, tls_lines, endpoint)}# From {rules_file.name}\n{notes}\n{sections}", encoding="utf-8"
    )
    return InitResult(str(output), len(translated.tables), (), bool(password))


def _checked_section(connection: Mysql, table: Table, targets: Targets) -> str:
    """The table's section, held to all that `whimbrel check` holds a project file to. Raises what is wrong with it."""
    target = targets.name_for(table.name)
    section = table_section(table, estimated_rows(connection, [table])[table.full_name], target)
    rule = read_rule(section)
    if find_table(connection, rule.source) != table:
        raise UserError("its name reads as another table's", place=table.full_name, hint="Rename one of them.")
    compile_mapping(rule, table)
    targets.take(target)
    return section


def read_rule(section: str) -> TableRule:
    """The rule that a project file with this section has. Raises ProjectError with all its faults."""
    faults: list[str] = []
    [top] = tomllib.loads(section)["table"]
    rule = read_table_rule(Section(top, "", faults), "")
    if faults:
        raise ProjectError("; ".join(faults), place=rule.source, hint="Write its section yourself.")
    return rule


class Targets:
    """Names for target tables: 3 to 255 of DynamoDB's characters, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name_for(self, table: str) -> str:
        """The source's own name if DynamoDB takes it, else the nearest to it that is free."""
        plain = unicodedata.normalize("NFKD", table)
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", "".join(each for each in plain if not unicodedata.combining(each)))
        plain = plain if len(plain) >= LEAST else f"{plain}_table".lstrip("_")
        plain = plain if re.search("[A-Za-z0-9]", plain) else f"table{plain}"
        number, name = 1, plain[:MOST]
        while name in self._taken:
            number += 1
            name = f"{plain[: MOST - 8]}_{number}"
        return name

    def take(self, name: str) -> None:
        self._taken.add(name)


def one_line(text: str) -> str:
    """As a comment of TOML takes it, which has no control characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def refuse_output(output: Path, endpoint: str) -> None:
    if "@" in endpoint:
        raise ProjectError(NO_USER, place="--endpoint", hint="boto3 finds credentials in its own settings.")
    if output.exists():
        raise ProjectError("is there already", place=str(output), hint="Name another file with --output.")


def source_of(url: str, tls: Tls) -> tuple[Source, str]:
    """The source, and the password if the URL has one."""
    settings, password = split_url(url)
    settings["password"] = password or os.environ.get(PASSWORD_VARIABLE, "")
    return Source(**settings, tls_cert=tls.cert, tls_key=tls.key), password


def head(source: Source, tls_lines: str, endpoint: str) -> str:
    port = "" if source.port == 3306 else f":{source.port}"
    host = f"[{source.host}]" if ":" in source.host else source.host
    url = f"mysql://{quote(source.user, safe='')}@{host}{port}/{quote(source.database, safe='')}".rstrip("/")
    where = (
        f"endpoint = {value(endpoint)}"
        if endpoint
        else '# endpoint = "http://127.0.0.1:8000"   # a local server; without it, AWS'
    )
    return f"""# whimbrel project file. Every setting: docs/project-file.md

[source]
url = "{url}"        # the password comes from the environment variable {PASSWORD_VARIABLE}
{tls_lines}
# connections = 4               # for the snapshot
# max_rows_per_second = 20000   # a cap on the snapshot
# max_threads_running = 50      # the snapshot pauses while the source has more
# max_replica_lag = 10          # seconds; the snapshot pauses while a replica is further behind

[target]
{where}
# region = "eu-central-1"       # region and credentials are found as boto3 finds them
# max_write_units = 1000        # per second
# billing = "on-demand"         # or "provisioned", with read_capacity and write_capacity

"""


def table_section(table: Table, rows: int, target: str) -> str:
    """One ``[[table]]`` with a mapping that works as it stands, and what it could be instead in comments."""
    columns = "".join(f"#   {one_line(column.name):<24} {one_line(column.type_name)}\n" for column in table.columns)
    key = table.primary_key
    title = one_line(f"{table.full_name}: about {rows:,} rows, primary key ({', '.join(key)})")
    lines = [
        f"# {title}\n{columns}[[table]]",
        f"source = {value(table.full_name)}",
        f"target = {value(target)}",
        'shape = "record"                # one row, one item; or "group": one item for all rows with the same key',
        f"partition_key = {_key(table.column(key[0]))}",
    ]
    if len(key) == 2:
        lines.append(f"sort_key = {_key(table.column(key[1]))}")
    elif len(key) > 2:
        lines.append(f"sort_key = {value(_joined(table, key[1:]))}")
    lines.append('# exclude = ["column"]            # columns that are not wanted in the items')
    lines.append('# rename = { column = "attribute" }')
    lines.append('# types = { column = "S" }        # S, N, B or BOOL instead of the column\'s own')
    if len(key) > 1:
        lines.append(_group_hint(table))
    return "\n".join(lines) + "\n"


def _key(column: Column) -> str:
    kind = "N" if column.kind in NUMBERS else "B" if column.kind in BYTES else "S"
    return value({"name": column.name, "value": f"${{{column.name}}}", "type": kind})


def _joined(table: Table, names: tuple[str, ...]) -> dict[str, str]:
    """A text key of several columns, under a name that no column has."""
    name = "_".join(names)
    name = name if text_size(name) <= MAX_KEY_NAME_BYTES else "sort_key"
    while name in table.names:
        name += "_"
    return {"name": name, "value": "|".join(f"${{{each}}}" for each in names)}


def _group_hint(table: Table) -> str:
    """How the rows could become one item for each value of the key without its last column."""
    *group, entry = table.primary_key
    values = [name for name in table.names if name not in table.primary_key]
    sort = f" and sort_key = {value(_joined(table, tuple(group[1:])))}" if len(group) > 1 else ""
    shown = value({"name": f"${{{entry}}}"} | ({"value": values[0]} if len(values) == 1 else {}))
    what = f"one item for each ({', '.join(group)}) with an attribute for each {entry}"
    return f'# As a group, {one_line(what)}:\n#   shape = "group"{sort}\n#   entry = {shown}'
