"""Telling that memory ran out from the errors by which it shows."""

from __future__ import annotations

import pytest

from whimbrel.errors import OutOfMemory, WhimbrelError
from whimbrel.memory import out_of_memory, release


def undo_and_fail_again(kept: Exception) -> None:
    """``kept`` is raised again while an error that came from it is handled: so it is its own cause."""
    try:
        raise WhimbrelError("undone") from kept
    except WhimbrelError:
        raise kept  # noqa: B904


def fail_for_want_of_memory() -> None:
    try:
        raise MemoryError
    except MemoryError as error:
        raise WhimbrelError("failed") from error


@pytest.mark.timeout(10)
def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    kept = ValueError("kept")
    with pytest.raises(ValueError, match="kept"):
        undo_and_fail_again(kept)
    assert kept.__context__ is not None
    assert kept.__context__.__cause__ is kept
    assert out_of_memory(kept) is None
    release(kept)
    kept.__context__ = None  # nor does pytest like it


def test_what_ran_out_is_found_behind_other_errors() -> None:
    with pytest.raises(WhimbrelError) as raised:
        fail_for_want_of_memory()
    assert isinstance(out_of_memory(raised.value), OutOfMemory)
    release(raised.value)
    assert raised.value.__cause__ is not None
    assert raised.value.__cause__.__traceback__ is None
