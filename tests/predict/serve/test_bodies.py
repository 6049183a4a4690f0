"""What is wrong with a body is said in its sender's terms."""

from __future__ import annotations

import pytest

from whimbrel.prediction.serve.bodies import BodyError, rows_of


def message(body: bytes, content_type: str) -> str:
    with pytest.raises(BodyError) as caught:
        list(rows_of(body, content_type, ["a", "b"], 10))
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"Infinity"])
def test_what_python_writes_and_json_does_not_have_is_named(value: bytes) -> None:
    expected = f"{value.decode()} is not JSON; a missing value is null"
    assert expected in message(b'{"instances": [{"features": [1.5, ' + value + b"]}]}", "application/json")
    assert expected in message(b'{"a": ' + value + b"}\n", "application/jsonlines")


def test_a_body_without_a_content_type_is_json_or_refused() -> None:
    assert "no Content-Type" in message(b"1,2\n", "")
    assert list(rows_of(b'{"instances": [[1, 2]]}', "", ["a", "b"], 10)) == [[[1, 2]]]


def test_a_text_that_says_nan_is_not_blamed() -> None:
    assert "missing value" not in message(b'{"instances": [["NaN", ]]}', "application/json")
