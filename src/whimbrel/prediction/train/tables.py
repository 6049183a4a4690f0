"""Tables to train on, from CSV and Parquet files.

A CSV's value is what the same text is when a row is served (bodies.py): white space around a field is not part of it,
only a field with nothing else is missing ("NA" is a text), and ``True``, ``007`` or a date stay the texts that they are
where they are categories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from whimbrel.errors import UserError
from whimbrel.lake.need import need

_HEAD = 64 << 10  # bytes in which the first line ends
_HINT = "Give a CSV or Parquet file."


def read_table(paths: Sequence[Path], *, names: Sequence[str] | None = None, categories: Collection[str] = ()) -> Any:
    """The rows of all files, in order, as one Arrow table.

    ``names`` are the columns of CSV files without a header; where there are none, Arrow calls the columns f0, f1 and so
    on. ``categories`` are columns whose values are strings, whatever they look like. Raises UserError naming the file.
    """
    import pyarrow as pa

    tables = [_read(path, names, categories) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.column_names != tables[0].column_names:
            found, wanted = ", ".join(table.column_names), ", ".join(tables[0].column_names)
            raise UserError(
                f"it has the columns {found}, not {wanted}", place=str(path), hint=f"As {paths[0].name} has."
            )
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"the files do not have one schema: {error}", place=str(paths[0].parent), hint=_HINT) from None


def _read(path: Path, names: Sequence[str] | None, categories: Collection[str]) -> Any:
    import pyarrow as pa

    csv, parquet = need("pyarrow.csv", "predict"), need("pyarrow.parquet", "predict")
    try:
        with pa.input_stream(path) as file:  # unpacked, where its name ends in .gz
            head = file.read(_HEAD).partition(b"\n")[0]
        if head.startswith(b"PAR1"):
            return parquet.read_table(path)
        delimiter = ";" if head.count(b";") > head.count(b",") else ","
        reading = partial(_read_csv, csv, path, delimiter, names)
        table = reading(categories, [""])
        texts = [name for name in table.column_names if name.strip() in categories]
        blank = _blank_fields(table)  # they would turn a column of numbers into strings
        if blank or not set(texts) <= set(categories):
            table = reading(texts, ["", *blank])
        return _trimmed(table, path)
    except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
        raise UserError(f"it cannot be read: {error}", place=str(path), hint=_HINT) from None


def _read_csv(
    csv: Any, path: Path, delimiter: str, names: Sequence[str] | None, texts: Collection[str], missing: Sequence[str]
) -> Any:
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names or None, autogenerate_column_names=names == []),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(texts, "string"),
            null_values=missing,
            true_values=["true"],
            false_values=["false"],
        ),
    )


def _blank_fields(table: Any) -> list[str]:
    """The fields of nothing but white space in string columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: set[str] = set()
    for column in [each for each in table.columns if pa.types.is_string(each.type)]:
        blank = pc.and_(pc.equal(pc.utf8_trim_whitespace(column), ""), pc.greater(pc.utf8_length(column), 0))
        found.update(column.filter(blank).unique().to_pylist())
    return sorted(found)


def _trimmed(table: Any, path: Path) -> Any:
    """The table without white space around its strings and its columns' names. Raises UserError where names clash."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [pc.utf8_trim_whitespace(each) if pa.types.is_string(each.type) else each for each in table.columns]
    names = [name.strip() for name in table.column_names]
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise UserError(f"it has more than one column {twice[0]!r}", place=str(path), hint="Rename one of them.")
    return pa.table(columns, names=names)
