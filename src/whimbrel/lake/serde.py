"""The rows of external tables: how Hive's SerDes read a file, said in DuckDB's SQL.

============== ==========================================================================================
delimited      LazySimpleSerDe: no quotes, an escape sign; a value that is not of its type is NULL, as there
opencsv        OpenCSVSerde: quotes, doubled or escaped, a line a row; empty is an empty string
json           JsonSerDe: an object a line, names found without regard to letter case; nested types
parquet        columns by their names; one that a file has not is NULL
============== ==========================================================================================

But for ``delimited``, where Hive has NULL, a value that is not of its column's type is an error of the query: casts.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.errors import UserError
from whimbrel.lake.casts import misfit, of_text, of_value, sql_type
from whimbrel.lake.csvfile import COLUMNS
from whimbrel.lake.datasets import OWN_COLUMNS, literal, path_literal, quoted

FILE = "_whimbrel_file"  # which file a row is of, for the values of partitions
_NO_BYTE = "\x01"  # as the separator, it makes a line one column
Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class External:
    """``columns`` and ``partitions`` are (name, type as sqlglot has it) pairs."""

    name: str
    form: str
    columns: tuple[tuple[str, Any], ...]
    partitions: tuple[tuple[str, Any], ...]
    location: str
    separator: str
    escape: str
    skip: int
    options: Mapping[str, str]


class _Where(NamedTuple):
    """Which column of which table, and whether names are found by their letter case too."""

    table: str
    column: str
    exact: bool


class Partitioned(NamedTuple):
    """Files, and for each the values of the partition columns."""

    files: list[Path]
    values: list[tuple[str | None, ...]]


def rows_of(external: External, place: Path, parts: Partitioned, ask: Ask) -> str:
    """A SELECT of the table's columns and its partition columns behind them. Raises UserError."""
    rows = _FORMS[external.form](external, place, parts.files, ask)
    names = [quoted(name) for name, _ in external.columns]
    if not external.partitions:
        return f"SELECT {', '.join(names)} FROM ({rows})"
    names += [f"{of_text(quoted(name), kind, name)} AS {quoted(name)}" for name, kind in external.partitions]
    table = ", ".join(
        f"({', '.join('NULL' if each is None else literal(each) for each in (str(file.absolute()), *values))})"
        for file, values in zip(parts.files, parts.values, strict=True)
    )
    keys = ", ".join(quoted(name) for name, _ in external.partitions)
    return f"SELECT {', '.join(names)} FROM ({rows}) JOIN (VALUES {table}) AS parts({FILE}, {keys}) USING ({FILE})"


def _delimited(external: External, place: Path, files: list[Path], ask: Ask) -> str:
    """Where whimbrel wrote the CSV, columns are found by their names, else by their order."""
    _refuse_nested(external)
    ours, wanted = place / COLUMNS, [name for name, _ in external.columns]
    about = orjson.loads(ours.read_bytes()) if ours.exists() else {}
    names: list[str] = about.get("columns", [])
    by_name = set(map(str.lower, wanted)) <= set(map(str.lower, names))
    place_of = {name.lower(): quoted(name) for name in names}
    stored = names if about else wanted
    picked = [
        place_of[name.lower()] if by_name else quoted(stored[at]) for at, name in enumerate(wanted[: len(stored)])
    ]
    casts = ", ".join(
        f"{of_text(column, kind, name, strict=False)} AS {quoted(name)}"
        for column, (name, kind) in zip(picked, external.columns, strict=True)
    )
    rows = _our_rows(files, stored, about["header"]) if about else _hive_rows(files, stored, external)
    return f"SELECT {casts}, {FILE} FROM {rows}"


def _our_rows(files: list[Path], columns: list[str], header: bool) -> str:
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    signs = f"delim = ',', quote = '\"', escape = '\"', header = {str(header).lower()}, auto_detect = false"
    return f"read_csv([{_paths(files)}], columns = {{{types}}}, {signs}, filename = '{FILE}')"


def _hive_rows(files: list[Path], columns: list[str], external: External) -> str:
    """Hive knows no quotes: a sign behind the escape sign stands for itself, and ``\\N`` is NULL. DuckDB's CSV has no
    escape without quotes, so whole lines are cut by a pattern.
    """
    separator, escape = re.escape(external.separator), re.escape(external.escape)
    sign = f"(?:[^{separator}{escape}]|{escape}.)" if escape else f"[^{separator}]"
    cut = f"regexp_extract_all(line || {literal(external.separator)}, {literal(f'({sign}*){separator}')}, 1)"
    picked = []
    for position, name in enumerate(columns, 1):
        field = f"nullif(fields[{position}], '\\N')"
        plain = f"regexp_replace({field}, {literal(escape + '(.)')}, '\\1', 'g')" if escape else field
        picked.append(f"{plain} AS {quoted(name)}")
    lines = _lines(files, external.skip)
    return f"(SELECT {', '.join(picked)}, {FILE} FROM (SELECT {cut} AS fields, {FILE} FROM {lines}))"


def _opencsv(external: External, place: Path, files: list[Path], ask: Ask) -> str:
    _refuse_nested(external)
    options = external.options
    signs = [options.get(name, default) for name, default in (("separatorchar", ","), ("quotechar", '"'))]
    signs.append(options.get("escapechar", "\\"))
    if any(len(sign) != 1 for sign in signs):
        raise UserError("separatorChar, quoteChar and escapeChar are one character each", place=external.name)
    separator, quote, escape = map(re.escape, signs)
    inside = f"(?:[^{quote}{escape}]|{escape}.|{quote}{quote})*"
    field = f"(\\s*{quote}{inside}{quote}|[^{separator}{quote}]*){separator}"
    whole = f"line || {literal(signs[0])}"
    picked = []
    for position, (name, kind) in enumerate(external.columns, 1):
        text = f"fields[{position}]"
        bare = f"regexp_replace({text}, {literal(f'^{chr(92)}s*{quote}|{quote}$')}, '', 'g')"
        plain = f"regexp_replace({bare}, {literal(f'(?:{escape}|{quote})([{escape}{quote}])')}, '\\1', 'g')"
        value = f"CASE WHEN regexp_matches({text}, {literal(f'^{chr(92)}s*{quote}')}) THEN {plain} ELSE {text} END"
        picked.append(f"{of_text(value, kind, name)} AS {quoted(name)}")
    # Where quotes are not in pairs, the fields do not make up the line: Hive reads something, which is a guess.
    checked = (
        f"SELECT {FILE}, CASE WHEN length(array_to_string(regexp_extract_all({whole}, {literal(field)}), '')) "
        f"= length({whole}) THEN regexp_extract_all({whole}, {literal(field)}, 1) "
        f"ELSE error('not a line of CSV: ' || line[:200]) END AS fields FROM {_lines(files, external.skip)}"
    )
    return f"SELECT {', '.join(picked)}, {FILE} FROM ({checked})"


def _json(external: External, place: Path, files: list[Path], ask: Ask) -> str:
    lines = _lines(files, external.skip)
    document = "line::JSON"
    if external.options.get("ignore.malformed.json", "false").lower() == "true":
        document = "try(line::JSON)"
    try:
        found = ask(f"SELECT json_group_structure({document}) FROM {lines}")[0][0]
    except UserError as error:
        raise UserError(error.message, place=external.name, hint="Each line must be JSON.") from None
    seen = orjson.loads(found) if found and found != '"NULL"' else {}
    exact = external.options.get("case.insensitive", "true").lower() == "false"
    picked = []
    for name, kind in external.columns:
        wanted = external.options.get(f"mapping.{name.lower()}", name)
        where = _Where(external.name, name, exact)
        key = _spelled(wanted, seen, where)
        value = _value(f"json_extract(j, {literal(_pointer(key))})", kind, _inner(seen, key), where)
        picked.append(f"{value} AS {quoted(name)}")
    return f"SELECT {', '.join(picked)}, {FILE} FROM (SELECT {document} AS j, {FILE} FROM {lines})"


def _value(json: str, kind: Any, seen: Any, where: _Where, depth: int = 0) -> str:
    """The JSON at one place as a value of the type; texts of scalars are cast, so that no digit is lost."""
    word = kind.this.name
    it = f"x{depth}"
    if word == "STRUCT":
        fields = []
        for each in kind.expressions:
            key = _spelled(each.name, seen, where)
            path = f"json_extract({json}, {literal(_pointer(key))})"
            inner = _value(path, each.args["kind"], _inner(seen, key), where, depth)
            fields.append(f"{quoted(each.name)} := {inner}")
        made, needed = f"struct_pack({', '.join(fields)})", "OBJECT"
    elif word == "ARRAY":
        (element,) = kind.expressions
        inside = seen[0] if isinstance(seen, list) and seen else {}
        inner = _value(it, element, inside, where, depth + 1)
        made, needed = f"list_transform(json_extract({json}, '$[*]'), lambda {it}: {inner})", "ARRAY"
    elif word == "MAP":
        of_key, of_value = kind.expressions
        found = f"json_extract({json}, '/' || replace(replace({it}, '~', '~0'), '/', '~1'))"
        inner = _value(found, of_value, _together(seen), where, depth + 1)
        pair = f"struct_pack(k := {of_text(it, of_key, where.column)}, v := {inner})"
        made, needed = f"map_from_entries(list_transform(json_keys({json}), lambda {it}: {pair}))", "OBJECT"
    else:
        return of_text(f"({json} ->> '$')", kind, where.column)
    found = f"coalesce(json_type({json}), 'NULL')"
    wrong = misfit(json, word, where.column)
    return f"CASE {found} WHEN 'NULL' THEN NULL WHEN '{needed}' THEN {made} ELSE {wrong} END"


def _spelled(name: str, seen: Any, where: _Where) -> str:
    """The name as the files spell it."""
    if seen == "JSON" and not where.exact:
        message = f"{name!r} is in values of several types, so its letter case cannot be determined"
        raise UserError(message, place=where.table, hint="Set 'case.insensitive'='false', and spell names exactly.")
    if where.exact or not isinstance(seen, dict):
        return name
    found = [each for each in seen if each.lower() == name.lower()]
    if len(found) > 1:
        message = f"the files have {found[0]!r} and {found[1]!r}, which differ by letter case only"
        raise UserError(message, place=where.table, hint="Set 'case.insensitive'='false', and spell the name exactly.")
    return found[0] if found else name


def _together(seen: Any) -> Any:
    """What is in all values of a map."""
    found: dict[str, Any] = {}
    for each in seen.values() if isinstance(seen, dict) else ():
        if isinstance(each, dict):
            found = {**found, **{name: _inner(found, name) or value for name, value in each.items()}}
    return found


def _inner(seen: Any, key: str) -> Any:
    return seen.get(key, {}) if isinstance(seen, dict) else {}


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _parquet(external: External, place: Path, files: list[Path], ask: Ask) -> str:
    source = f"read_parquet([{_paths(files)}], union_by_name = true, {OWN_COLUMNS}, filename = '{FILE}')"
    stored = {str(row[0]).lower(): (str(row[0]), str(row[1])) for row in ask(f"DESCRIBE SELECT * FROM {source}")}
    picked = []
    for name, kind in external.columns:
        column, of = stored.get(name.lower(), ("", ""))
        value = of_value(quoted(column), of, kind, name) if column else f"CAST(NULL AS {sql_type(kind)})"
        picked.append(f"{value} AS {quoted(name)}")
    return f"SELECT {', '.join(picked)}, {FILE} FROM {source}"


def _lines(files: list[Path], skip: int) -> str:
    return (
        f"read_csv([{_paths(files)}], columns = {{'line': 'VARCHAR'}}, delim = '{_NO_BYTE}', quote = '', escape = '', "
        f"header = false, skip = {skip}, auto_detect = false, filename = '{FILE}')"
    )


def _paths(files: list[Path]) -> str:
    return ", ".join(map(path_literal, files))


def _refuse_nested(external: External) -> None:
    for name, kind in external.columns:
        if kind.this.name in ("STRUCT", "ARRAY", "MAP"):
            message = f"the column {name!r} has a nested type, which is not read from text with separators"
            raise UserError(message, place=external.name, hint="Make it a string.")


_FORMS: dict[str, Callable[[External, Path, list[Path], Ask], str]] = {
    "delimited": _delimited,
    "opencsv": _opencsv,
    "json": _json,
    "parquet": _parquet,
}
