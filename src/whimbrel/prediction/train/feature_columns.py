"""From an Arrow table to inputs, and to the columns that a learner fits; distinct values go through features.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from whimbrel.errors import TrainingError
from whimbrel.prediction.model.dates import PARTS, date_parts, is_date
from whimbrel.prediction.model.features import CATEGORY, DATE, NUMBER, Input, as_text, encoder, shown

Array = NDArray[Any]
BINS = 20
LEAST_SPREAD = 1e-12  # of the largest number
LARGEST = 1e150  # beyond it, or below its inverse, squares leave the range of a double
MOST_CATEGORIES = 200
MOST_RARE = 10_000  # categories that are kept by name only, to tell them from those that training never saw
LEAST_SEEN = 10  # a category of fewer training rows is "other", whose weight an unknown category gets


@dataclass(frozen=True, slots=True)
class Values:
    """One column as its distinct values and, for each row, which of them it has: a 32-bit number, as Arrow has it."""

    name: str
    distinct: list[Any]
    codes: Array

    def take(self, rows: Array) -> Values:
        return Values(self.name, self.distinct, self.codes[rows])

    def used(self) -> list[Any]:
        """The distinct values that some row has."""
        rows = np.bincount(self.codes, minlength=len(self.distinct))
        return [self.distinct[code] for code in np.flatnonzero(rows)]


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One input's features for every row: the amount (0 for a category) and the place."""

    amounts: Array
    places: Array


def read_values(table: pa.Table, name: str) -> Values:
    """Raises TrainingError where the table has no such column."""
    if name not in table.column_names:
        raise TrainingError(
            f"there is no column {name!r}", place="data set", hint=f"It has {', '.join(table.column_names)}."
        )
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's own moments have microseconds
        column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column, null_encoding="encode")
    indices = pc.fill_null(column.indices, len(column.dictionary)).to_numpy(zero_copy_only=False)
    return Values(name, [*column.dictionary.to_pylist(), None], indices.astype(np.int32))


def learn_inputs(kind: str, values: Values, order: Array, reach: float = np.inf, amount: float = 1.0) -> list[Input]:
    """The inputs of one column as the training rows show it: one, or for a date one for each part that varies."""
    if kind != DATE:
        return [learn_input(kind, values, order, reach, amount)]
    used = values.used()
    try:
        found = list(zip(*map(date_parts, used), strict=True))
    except (ValueError, OverflowError):
        wrong = next(each for each in used if each not in (None, "") and not is_date(each))
        raise _misfit(values.name, "an ISO date", wrong) from None
    varying = [part for part, each in zip(PARTS, found, strict=True) if len(set(each) - {None}) > 1] or ["days"]
    return [_with_shares(_learn_number(values, reach, amount, part), values) for part in varying]


def learn_input(kind: str, values: Values, order: Array, reach: float = np.inf, amount: float = 1.0) -> Input:
    """The input as the training rows show it.

    ``order`` is the target as numbers, by whose mean categories are ordered; numbers are held within ``reach``
    standard deviations of their mean, and scaled to a deviation of ``amount``. Raises TrainingError naming the column
    and a value that is not of its type, or a column of strings that only identify rows.
    """
    learned = _learn_number(values, reach, amount) if kind == NUMBER else _learn_category(values, order)
    return _with_shares(learned, values)


def _with_shares(learned: Input, values: Values) -> Input:
    places = encode(learned, values, fill=0.0).places
    shares = np.bincount(places, minlength=learned.places) / max(1, len(places))
    return replace(learned, shares=tuple(float(round(share, 9)) for share in shares))


def encode(each: Input, values: Values, *, fill: float) -> FeatureColumn:
    """Every row's feature. Raises TrainingError naming the column and the value at fault."""
    function = encoder(each, fill=fill)
    pairs = []
    for value in values.distinct:
        try:
            pairs.append(function(value))
        except (ValueError, TypeError, OverflowError):
            raise _misfit(each.column, "a finite number" if each.type == NUMBER else "a string", value) from None
    amounts = np.array([amount for amount, _ in pairs])[values.codes]
    return FeatureColumn(amounts, np.array([place for _, place in pairs], dtype=np.int32)[values.codes])


def _learn_number(values: Values, reach: float, amount: float, part: str = "") -> Input:
    name, source = (f"{values.name} ({part})", values.name) if part else (values.name, "")
    # An unbounded input leaves the number as it is: the same reading of texts and decimals as when serving.
    bound = float(np.finfo(float).max)
    learned = Input(name, NUMBER, low=-bound, high=bound, source=source, part=part)
    numbers = encode(learned, values, fill=np.nan).amounts
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return replace(learned, low=0.0, high=0.0)
    largest = float(np.abs(numbers).max())
    if largest > LARGEST:
        raise _misfit(values.name, f"a finite number of at most {LARGEST:g}", largest)
    mean, spread = float(numbers.mean()), float(numbers.std())
    seen = float(numbers.min()), float(numbers.max())
    if spread <= max(largest * LEAST_SPREAD, 1 / LARGEST):  # one value, and the rounding of its mean
        return replace(learned, low=seen[0], high=seen[1], mean=float(numbers[0]), seen=seen)
    numbers = np.clip(numbers, mean - reach * spread, mean + reach * spread)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
    return replace(
        learned,
        edges=tuple(map(float, edges[edges > numbers.min()])),
        low=float(numbers.min()),
        high=float(numbers.max()),
        mean=float(numbers.mean()),
        scale=float(numbers.std()) / amount,
        seen=seen,
    )


def _learn_category(values: Values, order: Array) -> Input:
    rows, sums = Counter[str](), Counter[str]()
    counts = np.bincount(values.codes, minlength=len(values.distinct))
    totals = np.bincount(values.codes, weights=order, minlength=len(values.distinct))
    for value, count, total in zip(values.distinct, counts, totals, strict=True):
        if value is None or not count:
            continue
        try:
            text = as_text(value)
        except ValueError:
            raise _misfit(values.name, "a string", value) from None
        if not text:
            continue
        rows[text] += int(count)
        sums[text] += total
    if names_rows(len(rows), sum(rows.values())):
        raise TrainingError(
            f"column {values.name!r} has {len(rows):,} different strings in {len(values.codes):,} rows: identifiers",
            place="data set",
            hint=f'Leave it out: exclude = ["{values.name}"].',
        )
    least = min(LEAST_SEEN, 1 + len(values.codes) // 1000)
    frequent = [text for text, count in rows.most_common(MOST_CATEGORIES) if count >= least]
    known = set(frequent)
    return Input(
        values.name,
        CATEGORY,
        categories=tuple(sorted(frequent, key=lambda text: (sums[text] / rows[text], text))),
        rare=tuple(sorted([text for text, _ in rows.most_common(MOST_RARE + len(known)) if text not in known])),
    )


def names_rows(different: int, rows: int) -> bool:
    """Whether so many different strings in so many rows are identifiers or free text, not categories."""
    return different > MOST_CATEGORIES and different > rows / 2


def _misfit(name: str, wanted: str, value: Any) -> TrainingError:
    return TrainingError(
        f"column {name!r} must be {wanted}, not {shown(value)}",
        place="data set",
        hint=f'Fix the value, or leave the column out: exclude = ["{name}"].',
    )


def take(values: Sequence[Values], rows: Array) -> list[Values]:
    """The same rows of several columns."""
    return [each.take(rows) for each in values]


def objects(values: Sequence[Values], rows: Array) -> Array:
    """These rows as a request would have them: an array of objects, a column for each input."""
    made = np.empty((len(rows), len(values)), dtype=object)
    for number, each in enumerate(values):
        distinct = np.empty(len(each.distinct), dtype=object)
        distinct[:] = each.distinct
        made[:, number] = distinct[each.codes[rows]]
    return made
