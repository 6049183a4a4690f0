"""Spark on this machine: a process that ends when the run does."""

from __future__ import annotations

import os
import subprocess
import sys

from whimbrel.durable import writing
from whimbrel.migration.spark import boot
from whimbrel.migration.spark.runner import JobState, Submission

FAILURES = 4  # of a task, before the job fails: as on a cluster
ENDS_WITHIN = 15.0  # seconds


class LocalRunner:
    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._process: subprocess.Popen[bytes] | None = None
        self._log = submission.state / "spark.log"

    def submit(self) -> str:
        submission = self._submission
        master = f"local[{submission.spark.tasks},{FAILURES}]"
        words = [*submission.arguments.items(), ("--whimbrel-master", master)]
        if submission.where.profile:
            words.append(("--whimbrel-profile", submission.where.profile))
        # Where Spark runs Python, that is this one, which has whimbrel.
        python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        with writing(self._log), self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", boot.__file__, *(part for word in words for part in word)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=submission.state,
                env=os.environ | python,
                start_new_session=True,
            )
        return str(self._process.pid)

    def state(self, job: str) -> JobState:
        if self._process is None:  # of an earlier run, with which it ended
            return JobState(False, "gone", "its run was ended")
        code = self._process.poll()
        if code is None:
            return JobState(True, "running")
        return JobState(False, "ended", f"the driver ended with {code}" if code else "")

    def cancel(self, job: str) -> None:
        self.close()

    def where(self, job: str) -> str:
        return str(self._log)

    def close(self) -> None:
        """Its input ends, and so does it, with the JVM and that one's own processes."""
        if self._process is None:
            return
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
