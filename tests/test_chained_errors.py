"""An error that was raised again while one that came from it was handled: it leads back to itself, and what looks at
where errors came from ends all the same.
"""

from __future__ import annotations

import ssl

import orjson
import pytest
import zstandard

from whimbrel.errors import OutOfMemory
from whimbrel.memory import out_of_memory, release


def raise_again(first: BaseException) -> None:
    """As ``check`` raises what a thread left, while that it could not be undone is handled."""
    try:
        raise KeyError("not undone yet") from first
    except KeyError:
        raise first  # noqa: B904


@pytest.mark.timeout(10)
def test_errors_that_came_from_each_other_are_looked_at_once() -> None:
    with pytest.raises(ValueError, match="the capture ended") as raised:
        raise_again(ValueError("the capture ended"))
    assert raised.value.__context__
    assert raised.value.__context__.__cause__ is raised.value
    assert out_of_memory(raised.value) is None
    release(raised.value)
    assert raised.value.__traceback__ is None


def test_memory_that_was_wanted_at_first_is_found() -> None:
    first = KeyError("x")
    first.__context__ = MemoryError()
    assert isinstance(out_of_memory(first), OutOfMemory)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (zstandard.ZstdError("zstd compress error: Allocation error : not enough memory"), True),
        (zstandard.ZstdError("error determining content size from frame header"), False),
        (ssl.SSLError(1, "[SSL] malloc failure (_ssl.c:1011)"), True),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), False),
        (OSError(12, "Cannot allocate memory"), True),
        (orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0), True),
        (orjson.JSONDecodeError("unexpected character", "", 0), False),
        (ValueError("the server says: not enough memory"), False),
    ],
)
def test_a_librarys_own_error_for_want_of_memory_is_known(error: Exception, ours: bool) -> None:
    assert isinstance(out_of_memory(error), OutOfMemory) == ours
