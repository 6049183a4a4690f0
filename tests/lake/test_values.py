"""Whole columns at once and value by value say the same of any text: what the one takes, the other makes it too."""

from __future__ import annotations

import re
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.lake.helper import numbers
from whimbrel.lake import types
from whimbrel.lake.types import Numbers, parse_type
from whimbrel.lake.values import column, plain_column

KINDS = ["int64", "decimal(18,2)", "decimal(38,0)", "decimal(38,10)", "double", "number", "approximate"]
PIECES = ["0", "1", "9", "-", "+", ".", "e", "E", "5", "00", "12345678901234567890", " ", "_", "x", "n", "inf", "nan"]
TEXTS = st.lists(st.sampled_from([*PIECES, ",", "\n", "\u0661", "\uff11"]), max_size=5).map("".join) | numbers


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, deadline=None)
@example("12345678901234567890123456789012345678901")  # Arrow makes another number of it, in a decimal
@example("+5")
@example("0e999999999")
@example("0.1" + "0" * 30)  # more digits than the scale, of zeros that mean nothing
@example("1E999999999")
@example("0x1F")
@given(TEXTS)
def test_a_column_at_once_is_the_column_one_by_one(kind: str, text: str) -> None:
    texts, parsed = pa.array([text]), parse_type(kind)
    at_once = plain_column(texts, parsed)
    one_by_one, faults = column(texts, parsed)
    if at_once is not None:
        assert not faults
        assert at_once.cast(one_by_one.type) == one_by_one
    if not faults and kind != "approximate":
        value = one_by_one[0].as_py()
        assert Decimal(repr(value) if isinstance(value, float) else value) == Decimal(text)


@given(st.lists(numbers | st.integers(-(10**17), 10**17).map(str) | st.sampled_from(["0", "-0", "007", "100"])))
def test_whole_numbers_of_few_digits_are_counted_as_any_number(texts: list[str]) -> None:
    quick, slow = Numbers(), Numbers()
    quick.add(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(types, "_FEW_DIGITS", re.compile("(?!)"))
        slow.add(texts)
    assert quick == slow
