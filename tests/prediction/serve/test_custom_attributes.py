"""What SageMaker hands on of an answer's headers: the custom attributes, which say what matters of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whimbrel.prediction.model.unknown import HEADER, UnknownValues
from whimbrel.prediction.serve.custom_attributes import MOST, handed_on, unknown_in

OWN = "x-whimbrel-model-version: v1\r\nx-whimbrel-as-of: 2026-01-01T00:00:00Z\r\nx-whimbrel-position: b.1:7\r\n"
FOUND = st.lists(st.tuples(st.text(max_size=30), st.text(max_size=70)), min_size=1, max_size=30)


def test_an_answer_says_of_which_model_and_data_it_is_and_what_the_request_had() -> None:
    said = handed_on(f"{OWN}x-whimbrel-classes: no, yes\r\n", "trace=1")
    assert said == "x-whimbrel-model-version=v1;x-whimbrel-as-of=2026-01-01T00:00:00Z;x-whimbrel-position=b.1:7;trace=1"
    assert unknown_in(said) == ""


@given(FOUND, st.text("abc=;", max_size=900))
def test_it_is_what_a_header_may_have_and_what_fits_is_read_as_it_was(
    found: list[tuple[str, str]], request: str
) -> None:
    header = UnknownValues(found).header()
    said = handed_on(OWN + header, request)
    assert len(said) <= MOST
    assert all("!" <= each <= "~" for each in said)
    assert said.startswith("x-whimbrel-model-version=v1;")
    whole = header.removeprefix(f"{HEADER}: ").removesuffix("\r\n")
    assert unknown_in(said) in (whole, f"{whole.partition(';')[0]}; ...")
    if len(header) + len(OWN) + len(request) < MOST:
        assert unknown_in(said) == whole
