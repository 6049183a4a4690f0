"""CREATE EXTERNAL TABLE of Athena and Hive: a view over the files at its LOCATION.

sqlglot reads the statement, but DuckDB has no such tables: columns, partitions, LOCATION and how rows are written
(lake/serde.py) are taken from its tree. What the statement says and whimbrel does not know is refused by name.

An ``s3://`` address is a folder of the lake: one that ``[lake.locations]`` names, else ``s3/<bucket>/<path>`` or
``csv/<last part of the path>``; the address of the post, which has only place holders, is the one CSV that there is.
Files at any depth are read, as Athena does. Partitions are the folders ``name=value`` under the location, looked for
whenever the view is made: when a command opens the lake, and at MSCK REPAIR TABLE.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from whimbrel.errors import UserError
from whimbrel.lake.casts import sql_type
from whimbrel.lake.datasets import quoted
from whimbrel.lake.inside import regular_inside
from whimbrel.lake.need import need
from whimbrel.lake.serde import External, Partitioned, rows_of

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_FORMATS = {
    "lazysimpleserde": "delimited",
    "opencsvserde": "opencsv",
    "jsonserde": "json",
    "parquethiveserde": "parquet",
}
_REPAIR = re.compile(
    r"\s*MSCK\s+REPAIR\s+TABLE\s+(?:[`\"]?\w+[`\"]?\.)?[`\"]?([^`\"\s;]+)[`\"]?\s*;?\s*", re.IGNORECASE
)
_ADD_PARTITION = re.compile(r"\s*ALTER\s+TABLE\s+\S+\s+(?:ADD|DROP)\s+", re.IGNORECASE)
# What a table may say of itself that does not change what its rows are.
_HARMLESS = {
    "classification",
    "compressiontype",
    "creator",
    "external",
    "has_encrypted_data",
    "numfiles",
    "parquet.compression",
    "parquet.compress",
    "recordcount",
    "skip.header.line.count",
    "totalsize",
    "transient_lastddltime",
    "typeofdata",
}


def read_statement(sql: str) -> External | None:
    """The table that the statement creates; None when it is not a CREATE EXTERNAL TABLE. Raises UserError."""
    words = sql.split(None, 3)
    if [word.upper() for word in words[:3]] != ["CREATE", "EXTERNAL", "TABLE"]:
        return None
    sqlglot = need("sqlglot", "lake")
    exp = need("sqlglot.expressions", "lake")
    try:
        tree = sqlglot.parse_one(sql, read="athena")
    except sqlglot.errors.SqlglotError as error:
        raise UserError(f"not readable as Athena's SQL: {error}", hint="Correct the statement.") from None
    if not isinstance(tree, exp.Create) or not isinstance(tree.this, exp.Schema):
        raise UserError("not readable as Athena's SQL: it has no columns", hint="Correct the statement.")
    name, location = tree.this.this.name, tree.find(exp.LocationProperty)
    if location is None:
        raise UserError("it has no LOCATION", place=name, hint="Add a LOCATION that says where its files are.")
    row_format, options = tree.find(exp.RowFormatDelimitedProperty), _options(tree, exp, name)
    partitions = tree.find(exp.PartitionedByProperty)
    return External(
        name=name,
        form=_form(tree, exp, name),
        columns=_columns(tree.this.expressions),
        partitions=_columns(partitions.this.expressions) if partitions is not None else (),
        location=location.this.name,
        separator=_literal(row_format, "fields", options.pop("field.delim", options.pop("serialization.format", ","))),
        escape=_literal(row_format, "escaped", options.pop("escape.delim", "")),
        skip=int(options.pop("skip.header.line.count", "0")),
        options=options,
    )


def repaired(sql: str) -> str | None:
    """The table that MSCK REPAIR TABLE names; None for another statement. Raises UserError for ADD PARTITION."""
    if _ADD_PARTITION.match(sql) and "PARTITION" in sql.upper():
        hint = "Partitions are the folders name=value under the LOCATION; MSCK REPAIR TABLE looks for new ones."
        raise UserError("partitions cannot be named one by one", place="ALTER TABLE", hint=hint)
    found = _REPAIR.fullmatch(sql)
    return found.group(1) if found else None


def view(
    external: External, folder: Path, locations: Mapping[str, str], ask: Callable[[str], list[tuple[Any, ...]]]
) -> str:
    """CREATE VIEW for DuckDB; ``ask`` runs a query, for what only the files can say. Raises UserError when nothing lies
    at the location, StateError for a link that leads out of it.
    """
    place = resolve(external.location, folder, locations)
    files = _files(place)
    if not files:
        hint = "Write it with: whimbrel convert TABLE --csv"
        raise UserError("there is no file at the location", place=str(place), hint=hint)
    parts = Partitioned(files, [_values(external, place, file) for file in files])
    return f"CREATE OR REPLACE VIEW {quoted(external.name)} AS {rows_of(external, place, parts, ask)}"


def without_rows(external: External) -> str:
    """CREATE VIEW for DuckDB that has the table's columns, whatever lies at its location."""
    columns = ", ".join(
        f"NULL::{sql_type(kind)} AS {quoted(name)}" for name, kind in (*external.columns, *external.partitions)
    )
    return f"CREATE OR REPLACE VIEW {quoted(external.name)} AS SELECT {columns} WHERE false"


def resolve(location: str, folder: Path, locations: Mapping[str, str]) -> Path:
    """The folder behind a location. Raises UserError where there is none, or it leads elsewhere."""
    known = [each for each in locations if f"{location.rstrip('/')}/".startswith(f"{each.rstrip('/')}/")]
    if known:
        address = max(known, key=len)
        return _below(folder.parent / locations[address], location[len(address.rstrip("/")) :], location)
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return Path(parts.path)
    if parts.scheme not in ("s3", "s3a", "s3n"):
        raise UserError(f"{parts.scheme}:// is not known", place=location, hint="Name an s3:// address, or a folder.")
    path = location.partition("://")[2].strip("/")
    there = sorted(each for each in (folder / "csv").glob("*") if each.is_dir())
    if "<" in location and len(there) == 1:
        return there[0]
    candidates = [_below(folder / "s3", path, location), _below(folder / "csv", path.rpartition("/")[2], location)]
    for each in candidates:
        if each.is_dir():
            return each
    listed = ", ".join(f"s3://…/{each.name}/" for each in there) or "none yet: whimbrel convert TABLE --csv writes one"
    raise UserError(
        "the location is empty",
        place=location,
        hint=f"Name it in [lake.locations], or one of the lake's CSV folders ({listed}).",
    )


def _below(root: Path, path: str, location: str) -> Path:
    """The folder at ``path`` under the root, also when links are followed."""
    steps = [step for step in path.split("/") if step]
    found = root.joinpath(*steps)
    if ".." in steps or "\0" in path or not found.resolve().is_relative_to(root.resolve()):
        raise UserError("the location would be outside of its folder", place=location, hint="Name what is inside.")
    return found


def _files(place: Path) -> list[Path]:
    """Every file at the place and below it that is not hidden."""
    if not place.is_dir():
        raise UserError("there is no such folder", place=str(place), hint="LOCATION names a folder.")
    found = []
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place).parts
        if not path.is_dir() and not any(part[0] in "_." for part in inside):
            found.append(regular_inside(path, place))
    return found


def _values(external: External, place: Path, file: Path) -> tuple[str | None, ...]:
    """The values of the partition columns, from the folders that the file is in."""
    folders = file.relative_to(place).parts[:-1]
    names = [name for name, _ in external.partitions]
    if not names:
        return ()
    pairs = [folder.partition("=") for folder in folders[: len(names)]]
    if [key.lower() for key, _, _ in pairs] != [name.lower() for name in names]:
        wanted = "/".join(f"{name}=…" for name in names)
        raise UserError(f"the file is in no partition: folders {wanted} are expected", place=str(file), hint="Move it.")
    return tuple(None if value == _NO_VALUE else unquote(value) for _, _, value in pairs)


def _columns(definitions: list[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((each.name, each.args["kind"]) for each in definitions)


def _form(tree: Any, exp: Any, table: str) -> str:
    """How rows are written: by the SerDe, else by what it is STORED AS."""
    serde, stored = tree.find(exp.RowFormatSerdeProperty), tree.find(exp.FileFormatProperty)
    if serde is not None:
        word = str(serde.this.name).rpartition(".")[2]
        if word.lower() not in _FORMATS:
            hint = "Known are LazySimpleSerDe, OpenCSVSerde, JsonSerDe and Parquet."
            raise UserError(f"the SerDe {serde.this.name} is not known", place=table, hint=hint)
        return _FORMATS[word.lower()]
    word = str(getattr(stored, "name", "")).upper() if stored is not None else "TEXTFILE"
    if stored is not None and isinstance(stored.this, exp.InputOutputFormat):
        word = "PARQUET" if "parquet" in stored.this.args["input_format"].name.lower() else "TEXTFILE"
    if word not in ("TEXTFILE", "PARQUET", "JSONFILE"):
        raise UserError(f"STORED AS {word} is not known", place=table, hint="Known are TEXTFILE, PARQUET and JSONFILE.")
    return {"TEXTFILE": "delimited", "PARQUET": "parquet", "JSONFILE": "json"}[word]


def _options(tree: Any, exp: Any, table: str) -> dict[str, str]:
    """SERDEPROPERTIES and TBLPROPERTIES, but for those that mean nothing for the rows. Raises UserError."""
    known = {
        "delimited": {"field.delim", "serialization.format", "escape.delim"},
        "opencsv": {"separatorchar", "quotechar", "escapechar"},
        "json": {"ignore.malformed.json", "case.insensitive"},
        "parquet": {"serialization.format"},
    }[_form(tree, exp, table)]
    found = {}
    for each in tree.find_all(exp.Property):
        if type(each) is not exp.Property:
            continue
        name, value = str(each.name).strip("'\""), str(each.args["value"].name)
        word = name.lower()
        if word not in _HARMLESS | known and not word.startswith("mapping."):
            hint = "Leave it out, if the rows are the same without it."
            raise UserError(f"the property {name!r} is not known", place=table, hint=hint)
        if word in known or word == "skip.header.line.count" or word.startswith("mapping."):
            found[word] = value
    return found


def _literal(row_format: Any, name: str, default: str) -> str:
    found = row_format.args.get(name) if row_format is not None else None
    return str(found.name) if found is not None else default
