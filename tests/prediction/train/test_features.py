"""One piece of code makes the features: a row's in the training matrix are those that the same row gets when served."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import RowError, TrainingError
from whimbrel.prediction.model.features import CATEGORY, NUMBER, Input, encoder, row_reader, value_fault
from whimbrel.prediction.train.feature_columns import LARGEST, encode, learn_input, read_values

numbers = st.one_of(
    st.none(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1, 5191.0, 1e300, -1e300, 5e-324]),
)
texts = st.one_of(st.none(), st.sampled_from(["a", "b", "", "yes", "34", "true"]), st.text(max_size=4))


def as_csv(value: Any) -> str:
    """The value as it stands in a request of text/csv."""
    file = io.StringIO()
    csv.writer(file).writerow([value, "end"])
    return next(csv.reader(io.StringIO(file.getvalue())))[0]


def same(one: tuple[float, int], other: tuple[float, int]) -> bool:
    return one[1] == other[1] and (one[0] == other[0] or (math.isnan(one[0]) and math.isnan(other[0])))


trainable = numbers.filter(lambda value: value is None or abs(value) <= LARGEST)


@settings(deadline=None)
@given(st.lists(trainable, min_size=1, max_size=60), st.lists(numbers, max_size=20), st.sampled_from([4.0, math.inf]))
def test_a_number_is_the_same_feature_in_training_in_json_and_in_csv(
    trained: list[Any], fresh: list[Any], reach: float
) -> None:
    table = pa.table({"x": pa.array([None if each is None else float(each) for each in trained], pa.float64())})
    values = read_values(table, "x")
    learned = learn_input(NUMBER, values, np.zeros(len(trained)), reach)
    column = encode(learned, values, fill=math.nan)
    served = encoder(learned, fill=math.nan)
    for row, value in enumerate(table["x"].to_pylist()):
        trained_as = float(column.amounts[row]), int(column.places[row])
        assert same(served(value), trained_as)
        assert same(served(json.loads(json.dumps(value))), trained_as)
        assert same(served(as_csv(value)), trained_as)
    for value in fresh:
        amount, place = served(value)
        assert 0 <= place < learned.places
        assert (place == learned.missing) == (value is None) == math.isnan(amount)
        assert value is None or learned.low <= amount <= learned.high
        assert same(served(as_csv(value)), (amount, place))


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=60), st.lists(texts, max_size=20))
def test_a_category_is_the_same_place_in_training_in_json_and_in_csv(
    trained: list[str | None], fresh: list[str | None]
) -> None:
    table = pa.table({"x": pa.array(trained, pa.string())})
    values = read_values(table, "x")
    learned = learn_input(CATEGORY, values, np.zeros(len(trained)))
    column = encode(learned, values, fill=0.0)
    served = encoder(learned, fill=0.0)
    for row, value in enumerate(trained):
        assert served(value)[1] == column.places[row]
        assert (column.places[row] == learned.missing) == (not (value or "").strip())
    for value in fresh:
        text = (value or "").strip()
        known = learned.categories.index(text) if text in learned.categories else learned.known
        assert served(value)[1] == (known if text else learned.missing)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal("1.10"), None, Decimal("5191.00"), Decimal("-3.25")], pa.decimal128(38, 2)),
        pa.array([1, 2, None, 2**53]),
        pa.array([1.5, 2.5], pa.float32()),
        pa.array(["1.10", "", "7", None]),
        pa.array([1, 2, 1, 3]).dictionary_encode(),
    ],
    ids=["decimal", "int64", "float32", "text", "dictionary"],
)
def test_numbers_of_any_arrow_type_are_read_as_when_served(column: pa.Array) -> None:
    values = read_values(pa.table({"x": column}), "x")
    learned = learn_input(NUMBER, values, np.zeros(len(column)))
    made = encode(learned, values, fill=math.nan)
    for row, value in enumerate(column.to_pylist()):
        assert same(encoder(learned, fill=math.nan)(value), (float(made.amounts[row]), int(made.places[row])))


@pytest.mark.parametrize(
    ("column", "sent"),
    [
        (pa.array([True, False, True, None]), ["true", "false", "true", ""]),
        (pa.array([34, 35, 34, None]), ["34", "35", 34.0, None]),
        (pa.array([Decimal("34"), Decimal("3.5")], pa.decimal128(10, 1)), [34, 3.5]),
        (pa.nulls(3), [None, "", None]),
    ],
    ids=["bool", "int64", "decimal", "null"],
)
def test_categories_that_are_no_texts_are_the_texts_that_json_has_for_them(column: pa.Array, sent: list[Any]) -> None:
    values = read_values(pa.table({"x": column}), "x")
    learned = learn_input(CATEGORY, values, np.zeros(len(column)))
    places = encode(learned, values, fill=0.0).places.tolist()
    assert [encoder(learned, fill=0.0)(value)[1] for value in sent] == places
    assert learned.known not in places


AGE = Input("age", NUMBER, edges=(30.0, 50.0), low=18.0, high=90.0, mean=40.0, scale=10.0)
JOB = Input("job", CATEGORY, categories=("cook", "admin"))


@pytest.mark.parametrize("value", ["x", "1_000", "nan", "inf", float("nan"), float("inf"), True, [1], {}, "1,5", " "])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        encoder(AGE, fill=0.0)(value)
    fault = value_fault([JOB, AGE], ["cook", value], 3)
    assert (fault.column, fault.place) == ("age", "row 3")
    assert "'age' must be a finite number" in str(fault)


def test_a_number_too_large_for_a_double_is_refused_by_name() -> None:
    assert value_fault([AGE], [10**400], 0).column == "age"


@pytest.mark.parametrize("value", [["cook"], {"S": "cook"}, float("nan"), b"cook"])
def test_what_is_no_category_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        encoder(JOB, fill=0.0)(value)
    assert value_fault([AGE, JOB], [1, value], 0).column == "job"


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(str(value_fault([AGE], ["9" * 5000 + "x"], 0))) < 200


def test_rows_by_position_and_by_name() -> None:
    read = row_reader([AGE, JOB], ["y", "id"])
    assert read([1, "cook"], 0) == [1, "cook"]
    assert read({"job": "cook", "id": 7, "y": "no"}, 0) == [None, "cook"]


@pytest.mark.parametrize(
    ("row", "column"),
    [([1], "job"), ([1, "cook", 2], "job"), ([], "age"), ({"agee": 1}, "agee"), ("1,cook", ""), (5, ""), (None, "")],
)
def test_a_wrong_row_names_its_column(row: Any, column: str) -> None:
    with pytest.raises(RowError) as caught:
        row_reader([AGE, JOB])(row, 4)
    assert caught.value.column == column
    assert caught.value.place == "row 4"


@pytest.mark.parametrize(
    "row", [{"about.level": 1, "about": {"level": 2}}, {"job": "cook", "about": {"a.level": 1, "a": {"level": 2}}}]
)
def test_a_column_that_a_row_has_twice_is_refused(row: dict[str, Any]) -> None:
    read = row_reader([replace(AGE, name="about.level"), replace(AGE, name="about.a.level"), JOB])
    with pytest.raises(RowError, match="appears twice"):
        read(row, 4)
    assert read({"about": {"level": 2}, "job": "cook"}, 4) == [2, None, "cook"]


def test_a_column_of_names_of_rows_is_no_input() -> None:
    table = pa.table({"x": [f"customer-{number}" for number in range(500)]})
    with pytest.raises(TrainingError, match="identifiers"):
        learn_input(CATEGORY, read_values(table, "x"), np.zeros(500))


def test_a_rare_category_shares_its_place_with_unknown_ones() -> None:
    table = pa.table({"x": ["a"] * 9000 + ["b"] * 3})
    values = read_values(table, "x")
    learned = learn_input(CATEGORY, values, np.zeros(9003))
    assert learned.categories == ("a",)
    assert learned.shares[learned.known] == pytest.approx(3 / 9003)
    assert encoder(learned, fill=0.0)("b") == encoder(learned, fill=0.0)("never seen")


def test_numbers_too_large_to_be_scaled_are_refused() -> None:
    with pytest.raises(TrainingError, match="'x' must be a finite number of at most 1e"):
        learn_input(NUMBER, read_values(pa.table({"x": [1.0, 1e200]}), "x"), np.zeros(2))


@pytest.mark.parametrize("value", [1.1, 0.0, -93.994, 1e-160, 5e-324, 1e150])
def test_a_number_that_is_the_same_in_every_row_is_not_blown_up(value: float) -> None:
    learned = learn_input(NUMBER, read_values(pa.table({"x": [value] * 1001}), "x"), np.zeros(1001), 3.0)
    assert (learned.edges, learned.scale, learned.mean) == ((), 1.0, value)
    assert encoder(learned, fill=0.0)(value * 3 + 1) == (value, 0)


def test_a_value_that_does_not_fit_is_named_when_training() -> None:
    table = pa.table({"x": ["1", "2", "many"]})
    with pytest.raises(TrainingError, match="'x' must be a finite number, not 'many'"):
        learn_input(NUMBER, read_values(table, "x"), np.zeros(3))


def test_a_category_that_is_too_rare_is_told_from_one_that_was_never_there() -> None:
    table = pa.table({"x": [*["a", " b "] * 1_500, "once ", "  "]})
    learned = learn_input(CATEGORY, read_values(table, "x"), np.zeros(3_002))
    assert (set(learned.categories), learned.rare) == ({"a", "b"}, ("once",))
    assert encoder(learned, fill=0.0)("once")[1] == encoder(learned, fill=0.0)("never")[1] == learned.known
