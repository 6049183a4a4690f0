"""What ends a verification is said, whatever becomes of the applier beside it."""

from __future__ import annotations

import threading
from typing import NoReturn

import pytest

from whimbrel.errors import PrivilegeError, SourceError, Stopped, WhimbrelError
from whimbrel.migration.follow import Follower


class Ending:
    """As much of a run as a Follower sees: what its applier ends with, once the run is stopped."""

    def __init__(self, error: WhimbrelError) -> None:
        self.stop = threading.Event()
        self._error = error

    def applier(self) -> NoReturn:
        self.stop.wait()
        raise self._error


def test_the_error_of_the_verification_is_not_lost_to_the_stop_that_it_caused() -> None:
    with pytest.raises(PrivilegeError), Follower(Ending(Stopped("was stopped"))):  # type: ignore[arg-type]
        raise PrivilegeError("may not Scan")


def test_an_error_of_the_applier_itself_is_raised() -> None:
    run = Ending(SourceError("gone"))
    with pytest.raises(SourceError), Follower(run):  # type: ignore[arg-type]
        run.stop.set()
