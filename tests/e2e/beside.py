"""A command that runs beside a test."""

from __future__ import annotations

import subprocess

from tests.e2e.work import Work


class Beside:
    """A process that must not outlive the test."""

    def __init__(self, work: Work, *arguments: str) -> None:
        self.process = work.start(*arguments)

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
