"""Which columns of a table become inputs, of which type, and which cannot: all of them are found at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow as pa

from whimbrel.errors import TrainingError
from whimbrel.prediction.model.dates import is_date
from whimbrel.prediction.model.features import CATEGORY, DATE, NUMBER
from whimbrel.prediction.train.feature_columns import LARGEST, Array, Values, names_rows, read_values
from whimbrel.project.predict import ModelRule


class Usable(NamedTuple):
    """``types``: number, category or date by column. ``left_out``: by column, why it is not an input."""

    types: dict[str, str]
    left_out: dict[str, str]
    values: dict[str, Values]  # of the columns in ``types``, over all rows of the table


def flat_table(table: pa.Table, kept: Collection[str]) -> pa.Table:
    """The table with the fields of maps as columns of their own, ``map.field``, but for the maps named in ``kept``."""
    while True:
        maps = [each.name for each in table.schema if pa.types.is_struct(each.type) and each.name not in kept]
        if not maps:
            return table
        whole = [each for each in table.column_names if each not in maps]
        inner = table.select(maps).flatten()
        clash = sorted(set(whole) & set(inner.column_names))
        if clash:
            raise TrainingError(
                f"{clash[0]!r} is both a column and a field of a map", place="data set", hint="Exclude the map."
            )
        for name in inner.column_names:
            table = table.append_column(name, inner[name])
        table = table.drop_columns(maps)


def usable(rule: ModelRule, table: pa.Table, rows: Array) -> Usable:
    """What the rows numbered ``rows`` show. Raises TrainingError on a name that is not a column, or if nothing is left.

    What the project file gives a type is an input by its word: then a value that does not fit is an error. Numbers that
    cannot be computed with are an error that names all columns which have one.
    """
    types, left_out, kept, wrong = {}, {}, {}, {}
    for name in _candidates(rule, table):
        if name in rule.types:
            types[name], kept[name] = rule.types[name], read_values(table, name)
            continue
        plain = _plain_type(table.schema.field(name).type)
        if not plain:
            left_out[name] = f"is of type {table.schema.field(name).type}, which cannot be an input"
            continue
        values = read_values(table, name)
        used = values.take(rows).used()
        reason = _reason(plain, used, len(rows))
        if reason:
            left_out[name] = reason
            continue
        if plain == NUMBER and (
            unfit := [each for each in values.distinct if each is not None and not abs(each) <= LARGEST]
        ):
            wrong[name] = unfit[0]
        types[name] = DATE if plain == CATEGORY and _are_dates(used) else plain
        kept[name] = values
    if wrong:
        raise _not_finite(wrong)
    if not types:
        reasons = "; ".join(f"{name!r} {reason}" for name, reason in left_out.items())
        raise TrainingError(
            f"no column is left to use as an input{': ' if reasons else ''}{reasons}",
            place=f"model {rule.name}",
            hint="Exclude fewer, or give the data set columns that tell rows apart.",
        )
    return Usable(types, left_out, kept)


def _unfit(numbers: list[Any]) -> list[Any]:
    return [each for each in numbers if each is not None and not abs(each) <= LARGEST]


def _not_finite(wrong: dict[str, Any]) -> TrainingError:
    said = "; ".join(f"{name!r} has {value}" for name, value in wrong.items())
    listed = ", ".join(f'"{name}"' for name in wrong)
    return TrainingError(
        f"numbers must be finite, of at most {LARGEST:g}: {said}",
        place="data set",
        hint=f"Correct the values, or leave the columns out: exclude = [{listed}].",
    )


def _candidates(rule: ModelRule, table: pa.Table) -> list[str]:
    """Every column but the target, the time and what is excluded."""
    for name in (*rule.exclude, *rule.types, *filter(None, [rule.time])):
        if name not in table.column_names:
            raise TrainingError(
                f"{name!r} is not a column of the data set",
                place=f"model {rule.name}",
                hint=f"It has {', '.join(table.column_names)}.",
            )
    left_out = {rule.target, rule.time, *rule.exclude}
    return [name for name in table.column_names if name not in left_out]


def _plain_type(kind: Any) -> str:
    """``number``, ``category`` or ``date``; "" for what cannot be an input."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBER
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return DATE
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return CATEGORY if texts or pa.types.is_boolean(kind) or pa.types.is_null(kind) else ""


def _reason(kind: str, used: list[Any], rows: int) -> str:
    """Why a column of these different values says nothing about other rows; "" where it may."""
    if len({None if value == "" else value for value in used}) < 2:
        return "has the same value in every row"
    if kind == CATEGORY and names_rows(len(used), rows) and not _are_dates(used):
        return f"has {len(used):,} different strings in {rows:,} rows: identifiers or free text"
    return ""


def _are_dates(used: list[Any]) -> bool:
    known = [value for value in used if value not in (None, "")]
    return bool(known) and all(isinstance(value, str) and is_date(value) for value in known)
