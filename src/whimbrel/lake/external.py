"""CREATE EXTERNAL TABLE of Athena and Hive: a view over the CSV at its LOCATION.

sqlglot reads the statement, but DuckDB has no such tables: EXTERNAL, LOCATION and ROW FORMAT are taken from its tree.
An ``s3://`` address is a folder of the lake: one that ``[lake.locations]`` names, else ``s3/<bucket>/<path>`` or
``csv/<last part of the path>``; the address of the post, which has only place holders, is the one CSV that there is.

Where whimbrel wrote the CSV, columns are found by their names, else by their order, as Hive finds them. A value that is
not of the column's type is NULL, as it is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from whimbrel.errors import UserError
from whimbrel.lake.csvfile import COLUMNS
from whimbrel.lake.datasets import literal, path_literal, quoted
from whimbrel.lake.need import need


class External(NamedTuple):
    """``columns`` are (name, DuckDB type) pairs."""

    name: str
    columns: tuple[tuple[str, str], ...]
    location: str
    separator: str
    escape: str
    skip: int
    replace: bool


def read_statement(sql: str) -> External | None:
    """The table that the statement creates; None when it is no CREATE EXTERNAL TABLE. Raises UserError."""
    words = sql.split(None, 3)
    if [word.upper() for word in words[:3]] != ["CREATE", "EXTERNAL", "TABLE"]:
        return None
    sqlglot = need("sqlglot", "lake")
    exp = need("sqlglot.expressions", "lake")
    try:
        tree = sqlglot.parse_one(sql, read="athena")
    except sqlglot.errors.SqlglotError as error:
        raise UserError(f"not readable as Athena's SQL: {error}", hint="Mend the statement.") from None
    location, row_format = tree.find(exp.LocationProperty), tree.find(exp.RowFormatDelimitedProperty)
    if location is None or tree.find(exp.RowFormatSerdeProperty) is not None:
        raise UserError(
            "only ROW FORMAT DELIMITED with a LOCATION is known",
            place=tree.this.this.name,
            hint="The data sets of the project are there by their names without any CREATE TABLE.",
        )
    columns = tuple((each.name, each.args["kind"].sql("duckdb")) for each in tree.this.expressions)
    return External(
        name=tree.this.this.name,
        columns=columns,
        location=location.this.name,
        separator=_literal(row_format, "fields", ","),
        escape=_literal(row_format, "escaped", ""),
        skip=_header_lines(tree, exp),
        replace=bool(tree.args.get("exists")),
    )


def view(external: External, folder: Path, locations: Mapping[str, str]) -> str:
    """CREATE VIEW for DuckDB. Raises UserError when nothing lies at the location."""
    place = resolve(external.location, folder, locations)
    ours = place / COLUMNS
    names: list[str] = orjson.loads(ours.read_bytes())["columns"] if ours.exists() else []
    wanted = [name for name, _ in external.columns]
    by_name = set(map(str.lower, wanted)) <= set(map(str.lower, names))
    stored = names if ours.exists() else wanted
    if by_name:
        place_of = {name.lower(): quoted(name) for name in names}
        picked = [place_of[name.lower()] for name in wanted]
    else:
        picked = [quoted(name) for name in stored[: len(wanted)]]
    header = bool(ours.exists() and orjson.loads(ours.read_bytes())["header"])
    casts = (
        f"TRY_CAST({column} AS {kind}) AS {quoted(name)}"
        for column, (name, kind) in zip(picked, external.columns, strict=True)
    )
    files = sorted(path for path in place.iterdir() if path.is_file() and path.name[0] not in "_.")
    if not files:
        hint = "Write it with: whimbrel convert TABLE --csv"
        raise UserError("there is no file at the location", place=str(place), hint=hint)
    return (
        f"CREATE OR REPLACE VIEW {quoted(external.name)} AS SELECT {', '.join(casts)} "
        f"FROM {_our_rows(files, stored, header) if ours.exists() else _hive_rows(files, stored, external)}"
    )


def resolve(location: str, folder: Path, locations: Mapping[str, str]) -> Path:
    """The folder behind a location. Raises UserError, naming the CSV that there is."""
    known = [address for address in locations if location.startswith(address.rstrip("/"))]
    if known:
        address = max(known, key=len)
        return folder.parent / locations[address] / location[len(address.rstrip("/")) :].strip("/")
    parts = urlsplit(location)
    if parts.scheme not in ("s3", "s3a", "s3n"):
        return Path(parts.path)
    path = location.partition("://")[2].strip("/")
    candidates = [folder / "s3" / path, folder / "csv" / path.rpartition("/")[2]]
    there = sorted(each for each in (folder / "csv").glob("*") if each.is_dir())
    if "<" in location and len(there) == 1:
        candidates += there
    for each in candidates:
        if each.is_dir():
            return each
    listed = ", ".join(f"s3://…/{each.name}/" for each in there) or "none yet: whimbrel convert TABLE --csv writes one"
    raise UserError(
        "nothing lies at the location",
        place=location,
        hint=f"Name it in [lake.locations], or one of the lake's CSV folders ({listed}).",
    )


def _our_rows(files: list[Path], columns: list[str], header: bool) -> str:
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    signs = f"delim = ',', quote = '\"', escape = '\"', header = {str(header).lower()}, auto_detect = false"
    return f"read_csv([{_paths(files)}], columns = {{{types}}}, {signs})"


def _hive_rows(files: list[Path], columns: list[str], external: External) -> str:
    """Hive knows no quotes: a sign behind the escape sign stands for itself, and ``\\N`` is NULL. DuckDB's CSV has no
    escape without quotes, so whole lines are cut by a pattern.
    """
    separator, escape = re.escape(external.separator), re.escape(external.escape)
    sign = f"(?:[^{separator}{escape}]|{escape}.)" if escape else f"[^{separator}]"
    fields = f"regexp_extract_all(line || {literal(external.separator)}, {literal(f'({sign}*){separator}')}, 1)"
    picked = []
    for position, name in enumerate(columns, 1):
        field = f"nullif(fields[{position}], '\\N')"
        plain = f"regexp_replace({field}, {literal(escape + '(.)')}, '\\1', 'g')" if escape else field
        picked.append(f"{plain} AS {quoted(name)}")
    lines = (
        f"read_csv([{_paths(files)}], columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', "
        f"header = false, skip = {external.skip}, auto_detect = false)"
    )
    return f"(SELECT {', '.join(picked)} FROM (SELECT {fields} AS fields FROM {lines}))"


def _paths(files: list[Path]) -> str:
    return ", ".join(map(path_literal, files))


def _literal(row_format: Any, name: str, default: str) -> str:
    found = row_format.args.get(name) if row_format is not None else None
    return str(found.name) if found is not None else default


def _header_lines(tree: Any, exp: Any) -> int:
    for each in tree.find_all(exp.Property):
        if str(each.name).strip("'\"").lower() == "skip.header.line.count":
            return int(str(each.args["value"].name))
    return 0
