"""The function's SQLite must make the same of expressions as the sender's, or it says so before it writes."""

from __future__ import annotations

import sqlite3

import orjson
import pytest

from whimbrel.errors import UserError
from whimbrel.function.known import Known
from whimbrel.kinesis.settings import FunctionSettings, settings_from_json, settings_to_json
from whimbrel.mapping import dialect
from whimbrel.mapping.dialect import PROBES, answers_of
from whimbrel.mapping.functions import ALLOWED
from whimbrel.project import Target


def test_each_function_that_an_expression_may_have_is_probed() -> None:
    assert PROBES.keys() == {*ALLOWED, ""}
    connection = sqlite3.connect(":memory:")
    answers = {probe: dialect._answer(connection, probe) for probes in PROBES.values() for probe in probes}
    connection.close()
    assert [probe for probe, answer in answers.items() if answer == "an error"] == []


def test_only_what_the_expressions_have_is_compared() -> None:
    assert answers_of([]) == {}
    assert answers_of(["round(price, 2) || Upper(name)", "a ->> 'b'"]).keys() == {"", "round", "upper", "->>"}


def test_the_settings_carry_the_answers_and_an_equal_sqlite_takes_them() -> None:
    answers = answers_of(["round(price, 2)"])
    settings = FunctionSettings(1.0, 3, (), 64.0, answers)
    assert settings_from_json(settings_to_json(settings)) == settings
    assert Known(Target(), 1.0)._compiled(settings_to_json(settings)).lane_units == 2.0


@pytest.mark.parametrize(
    ("name", "said"), [("round", "round"), ("", "operators"), ("a_later_function", "a_later_function")]
)
def test_another_answer_is_refused_by_the_functions_name(name: str, said: str) -> None:
    settings = FunctionSettings(1.0, 3, (), answers={**answers_of(["round(price, 2)"]), name: "0" * 12})
    with pytest.raises(UserError, match=f"differs from the sender's in {said}. Give the function"):
        Known(Target(), 1.0)._compiled(settings_to_json(settings))


def test_settings_of_an_earlier_sender_have_no_answers() -> None:
    fields = orjson.loads(settings_to_json(FunctionSettings(1.0, 3, ())))
    del fields["answers"], fields["max_write_units"]
    assert settings_from_json(orjson.dumps(fields)) == FunctionSettings(1.0, 3, ())
