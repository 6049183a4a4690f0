"""Each reader reads its whole corpus again: inputs of every form, and those that once broke it (``make fuzz``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.http import check
from tests.fuzz.readers import READERS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=[f"{path.parent.name}/{path.name}" for path in INPUTS])
def test_a_reader_holds(path: Path) -> None:
    READERS[path.parent.name](path.read_bytes())


def test_every_reader_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(READERS)


def test_the_judge_of_http_answers_finds_a_line_that_a_request_made_up() -> None:
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    assert check(b"HTTP/1.1 100 Continue\r\n\r\n" + good * 2) == [200, 200]
    for bad in (
        good[:-1],
        good + b"x",
        good.replace(b"200 OK", b"500 Oops"),
        good.replace(b"\r\n\r\n", b"\r\nset: 1\r\n\r\n"),
    ):
        with pytest.raises(AssertionError):
            check(bad)
