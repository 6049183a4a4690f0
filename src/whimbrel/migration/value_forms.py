"""A table has values of one form: what 0.1.0 began, this version continues only where both write the same.

The forms that changed are in docs/types.md, under "After 0.1.0".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from whimbrel.checkpoint import VALUES
from whimbrel.errors import StateError
from whimbrel.mapping.design import TableMapping
from whimbrel.mysql.charsets import EXCEPTIONS
from whimbrel.project import TableRule
from whimbrel.records import Column, Table

# A table with its rule and its mapping, None if it could not be made: a form that changed may be the reason.
Mapped = tuple[TableRule, Table, TableMapping | None]


def same_values(tables: Iterable[Mapped], values: int, place: str) -> None:
    """``values``: the form that the migration began with. Raises StateError that names every column concerned."""
    if values == VALUES:
        return
    changed = [f"{each[1].full_name}.{what}" for each in tables for what in _changed(*each)]
    if changed:
        raise StateError(
            f"whimbrel 0.1.0 began this migration and wrote these in another form: {', '.join(changed)}",
            place=place,
            hint="Finish it with whimbrel 0.1.0, or begin again with a new state folder and target table.",
        )


def _changed(rule: TableRule, table: Table, mapping: TableMapping | None) -> Iterator[str]:
    design = mapping.design if mapping else None
    reads_more = bool(rule.columns or rule.filter) or design is None  # than what is not excluded
    used = {name for each in design.added for name in each.columns} | set(design.key_columns) if design else set()
    for column in table.columns:
        if (why := _why(column)) and (reads_more or column.name in used or column.name not in rule.exclude):
            yield f"{column.name} ({why})"
    if design and not design.omit_nulls:
        yield from (f"{each.name} (a template with NULLs)" for each in design.added if each.may_be_null(design.columns))


def _why(column: Column) -> str:
    if column.kind == "float":
        return "FLOAT"
    if any(character > "\uffff" for member in column.members for character in member):
        return f"{column.kind.upper()} with members beyond the BMP"
    return column.charset if column.charset in EXCEPTIONS else ""
