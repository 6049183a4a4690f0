"""A command that is forked is as one that is started, for whoever has its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.forked import Forked, can_fork

PROJECT = """
[source]
url = "mysql://user@127.0.0.1:1/shop"
[[table]]
source = "t"
target = "t"
partition_key = "id"
"""


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["status", "--json"], ["no-such-command"]])
def test_it_says_and_returns_the_same(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "whimbrel.toml").write_text(PROJECT)  # which is found where the command is
    command = [sys.executable, "-m", "whimbrel", *arguments]
    started = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    with Forked(arguments, tmp_path, os.environ, stdout=PIPE, stderr=PIPE) as process:
        said = process.communicate(timeout=60)
    assert (process.returncode, *said) == (started.returncode, started.stdout, started.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    project = tmp_path / "whimbrel.toml"
    os.mkfifo(project)  # it waits there for whoever writes
    with Forked(["status"], tmp_path, os.environ, stdout=PIPE, stderr=PIPE) as process, project.open("w"):
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == process.poll() == code


def test_what_an_interpreter_reads_at_its_start_is_not_changed_later() -> None:
    assert can_fork(os.environ | {"WHIMBREL_SOURCE_PASSWORD": "x"})
    assert not can_fork(os.environ | {"PYTHONHASHSEED": "1"})
    assert not can_fork(os.environ | {"LANG": "x"})
