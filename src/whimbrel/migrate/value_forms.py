"""A table has values of one form: what 0.1.0 began, this version goes on with only where both write the same.

The forms that changed are in docs/types.md, under "After 0.1.0".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from whimbrel.checkpoint import VALUES
from whimbrel.errors import StateError
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.charsets import EXCEPTIONS
from whimbrel.records import Column


def same_values(mappings: Iterable[TableMapping], values: int, place: str) -> None:
    """``values``: the form that the migration began with. Raises StateError that names every column concerned."""
    if values == VALUES:
        return
    changed = [f"{mapping.source}.{what}" for mapping in mappings for what in _changed(mapping)]
    if changed:
        raise StateError(
            f"whimbrel 0.1.0 began this migration and wrote these in another form: {', '.join(changed)}",
            place=place,
            hint="Finish it with whimbrel 0.1.0, or begin again with a new state folder and target table.",
        )


def _changed(mapping: TableMapping) -> Iterator[str]:
    rule, design = mapping.rule, mapping.design
    computes = bool(rule.columns or rule.filter)  # expressions may read what is excluded
    used = {name for each in design.added for name in each.columns} | set(design.key_columns)
    for column in mapping.table.columns:
        if (why := _why(column)) and (computes or column.name in used or column.name not in rule.exclude):
            yield f"{column.name} ({why})"
    if not design.omit_nulls:
        yield from (f"{each.name} (a template with NULLs)" for each in design.added if each.may_be_null(design.columns))


def _why(column: Column) -> str:
    if column.kind == "float":
        return "FLOAT"
    if any(character > "\uffff" for member in column.members for character in member):
        return f"{column.kind.upper()} with members beyond the BMP"
    return column.charset if column.charset in EXCEPTIONS else ""
