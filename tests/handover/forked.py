"""whimbrel's commands, each of which may be struck at a ``Step``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.work import PATIENCE, Work
from tests.forked import Forked
from tests.handover.striking import Step


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The name of the error that it ended with."""
        return self.err.partition("error[")[2].partition("]")[0]


class Command:
    """One that runs, or has ended. ``said`` is the folder of what it says."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self._process, self._said = process, said
        self.kill = process.kill

    @property
    def struck(self) -> bool:
        """Whether it came to its ``Step``."""
        return (self._said / "struck").exists()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return (self._said / "err").read_text()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> Ended:
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # faulthandler says where it was
            time.sleep(1)
            raise AssertionError(f"the command did not end:\n{self.said()}") from None
        return Ended(code, (self._said / "out").read_text(), self.said())


@dataclass
class ForkedWork(Work):
    """``Work`` whose commands may have a ``Step``."""

    forks: int = 0

    def fork(self, *arguments: str, step: Step | None = None) -> Command:
        self.forks += 1
        said = self.folder / "said" / f"{self.forks}-{arguments[0]}"
        said.mkdir(parents=True)
        environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": self.source.password} | self.environment
        first = ("tests.handover.striking:prepare", json.dumps(step), str(said / "struck"))
        with (said / "out").open("w") as out, (said / "err").open("w") as err:
            return Command(Forked(arguments, self.folder, environment, first, stdout=out, stderr=err), said)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = self.fork(*arguments).wait()
        assert ended.code == code, f"whimbrel {arguments} ended with {ended.code}\n{ended.out}\n{ended.err}"
        return subprocess.CompletedProcess(arguments, ended.code, ended.out, ended.err)
