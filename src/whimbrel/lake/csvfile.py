"""A data set as CSV, for a trainer (label first, no header) or for people (with a header).

Quoted as RFC 4180 says. NULL is an empty field, an empty string ``""``; lists, maps and sets are JSON,
binary is base64.
The names of the columns, which a file without a header has lost, stand beside it in ``_columns.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import orjson

from whimbrel.durable import publish, replace_file
from whimbrel.errors import StateError, UserError
from whimbrel.lake.datasets import literal, quoted, select
from whimbrel.lake.duck import connect
from whimbrel.lake.inside import child
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.need import need
from whimbrel.lake.types import parse_type

COLUMNS = "_columns.json"
FILE = "part-00000.csv"


def default_folder(folder: Path, name: str) -> Path:
    """Raises UserError for a name that cannot be a folder's."""
    return child(folder / "csv", name)


def columns_for(
    manifest: Manifest, columns: Sequence[str] = (), label: str = "", exclude: Sequence[str] = ()
) -> list[str]:
    """The columns in their order: the ``label`` first. Raises UserError for one that is not there."""
    known = dict.fromkeys(manifest.columns)
    wanted = [name for name in columns or known if name not in exclude]
    unknown = [name for name in [*wanted, *exclude, *([label] if label else [])] if name not in known]
    if unknown:
        hint = f"It has {', '.join(manifest.columns)}."
        raise UserError(f"no column {unknown[0]!r}", place=manifest.name, hint=hint)
    return [label, *(name for name in wanted if name != label)] if label else wanted


def write_csv(folder: Path, manifest: Manifest, path: Path, columns: Sequence[str], *, header: bool) -> int:
    """Write the columns of the data set to ``path``, whole or not at all; how many rows. Raises StateError."""
    duckdb = need("duckdb", "lake")
    types = {field.name: parse_type(field.type).kind for field in manifest.schema}
    listed = ", ".join(f"{_as_text(name, types[name])} AS {quoted(name)}" for name in columns)
    part = path.with_name(path.name + ".part")
    query = f"SELECT {listed} FROM ({select(folder, manifest, columns)})"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(connect()) as connection:
            done = connection.execute(f"COPY ({query}) TO {literal(str(part))} (FORMAT csv, HEADER {header}, NULL '')")
            rows = int(done.fetchone()[0])
        values = {"columns": list(columns), "header": header, "dataset": manifest.name, "id": manifest.id}
        replace_file(path.parent / COLUMNS, orjson.dumps(values | {"file": path.name}) + b"\n")
        with part.open("rb+") as file:
            publish(file, path)
    except (OSError, duckdb.IOException) as error:
        raise StateError(f"the CSV cannot be written: {error}", place=str(path), hint="Name another place.") from error
    return rows


def _as_text(name: str, kind: str) -> str:
    column = quoted(name)
    if kind in ("list", "struct"):
        return f"to_json({column})::VARCHAR"
    return f"base64({column})" if kind == "binary" else column
