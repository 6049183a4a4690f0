"""One whimbrel at a time in a state folder, and who holds its lock."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from whimbrel.checkpoint import RunLock
from whimbrel.errors import Locked, StateError


def test_one_whimbrel_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    program = """
import sys
from pathlib import Path
from whimbrel.checkpoint import RunLock
with RunLock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(Locked, match=f"pid {other.pid}"):
        RunLock(folder)
    other.kill()  # a crash leaves nothing to clean up
    other.wait()
    other.stdin.close()
    other.stdout.close()
    with RunLock(folder), pytest.raises(Locked, match=f"pid {os.getpid()}"):
        RunLock(folder)
    RunLock(folder).release()


@pytest.mark.parametrize(("content", "said"), [(b"", "unknown"), (b"\xff\n", "\ufffd"), (b"123456\n", "123456")])
def test_who_holds_the_lock_is_said_as_far_as_it_is_known(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "lock").write_bytes(content)
    with (tmp_path / "lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Locked) as error:
            RunLock(tmp_path)
    assert f"(pid {said})" in str(error.value)
    assert ("kill" in error.value.hint) == said.isdigit()


def test_the_lock_is_of_its_user_and_names_who_holds_it_now(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "state"
    lock = RunLock(folder)
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600
    lock.release()
    lock.release()  # harmless
    (folder / "lock").write_text("9" * 20 + "\n")
    with RunLock(folder):
        assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_releasing_a_lock_twice_closes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RunLock(tmp_path)
    lock.release()
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    lock.release()
    assert closed == []


def test_a_state_folder_that_cannot_be_made_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="the lock cannot be made: Not a directory") as caught:
        RunLock(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in str(caught.value)
