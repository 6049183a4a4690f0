"""The lease of a Spark job: who may write, and until when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from whimbrel.errors import Stopped
from whimbrel.migration.spark import lease
from whimbrel.migration.spark.lease import JobLease, wait_until_nobody_writes
from whimbrel.migration.spark.places import Folder
from whimbrel.migration.spark.told import WRITING


class Opened:
    """A place in which ``open`` is, or which does not answer."""

    is_open, answers = True, True

    def get(self, name: str) -> bytes | None:
        if not self.answers:
            raise OSError("no answer")
        return b"" if self.is_open else None

    def url(self, name: str) -> str:
        return name


def test_a_lease_is_for_as_long_as_the_job_was_seen_to_be_open() -> None:
    now, place = [100.0], Opened()
    held = JobLease(place, lambda: now[0])  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        JobLease(place, lambda: now[0]).sure()  # type: ignore[arg-type]
    held.look()
    now[0] += lease.LEASE_SECONDS - 0.1
    held.sure()
    now[0] += 0.2
    with pytest.raises(Stopped):
        held.sure()
    with pytest.raises(Stopped):
        held.look()  # it has ended, for good


def test_a_look_counts_from_when_it_began() -> None:
    now, place = [100.0], Opened()
    held = JobLease(place, lambda: now[0])  # type: ignore[arg-type]

    def slow(name: str) -> bytes:
        now[0] += 11.0
        return b""

    place.get = slow  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        held.look()


@pytest.mark.parametrize("how", ["closed", "no answer"])
def test_a_lease_that_is_not_renewed_ends_writing(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)
    place = Opened()
    held = JobLease(place)  # type: ignore[arg-type]
    held.begin()
    if how == "closed":
        place.is_open = False
    else:
        place.answers = False
    assert held.stop.wait(10)
    held.end()


def test_waiting_ends_as_soon_as_all_have_said_that_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LATE_SECONDS", 60.0)
    place, waits = Folder(tmp_path), threading.Event()
    place.put_new(f"{WRITING}1-a", b"")

    def list_(prefix: str) -> Iterator[tuple[str, int]]:
        waits.set()
        return Folder.list(place, prefix)

    place.list = list_  # type: ignore[method-assign]
    remover = threading.Thread(target=lambda: waits.wait(10) and place.remove([f"{WRITING}1-a"]))  # type: ignore[func-returns-value]
    remover.start()
    wait_until_nobody_writes(place)
    remover.join()
