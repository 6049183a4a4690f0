"""Spark for the tests: where the set-up has put it, if it has, and projects that load by it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from demo.from_debian import servers_folder
from tests.e2e.peaks import children
from tests.e2e.work import Work

TASKS = 2
DAEMONS = (b"-m\0pyspark.daemon\0", b"-m\0whimbrel.migration.spark.forked\0")
STARTS_WITHIN = 900.0  # seconds: a JVM takes ten of CPU, and shares the machine with whatever else is tested


def spark_folder() -> Path | str:
    """Where pyspark can be imported from, or why it cannot."""
    folder = servers_folder() / "spark"
    if not (folder / "pyspark").is_dir():
        return "no Spark: not fetched yet. `make setup-tests` does it"
    if not shutil.which("java"):
        return "no Spark: it needs Java 17, of Debian's package openjdk-17-jre-headless"
    return folder


def by_spark(work: Work, folder: Path, *, tasks: int = TASKS, more: str = "") -> Work:
    """``work``, loaded by Spark however few rows there are."""
    work.mapping = f'{work.mapping}\n[load]\nengine = "spark"\n[spark]\ntasks = {tasks}\nleast_rows = 0\n{more}'
    work.environment |= {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
    work.write_project()
    return work


def descendants(pid: int) -> list[int]:
    below = children(pid)
    return below + [each for one in below for each in descendants(one)]


def python_workers(pid: int) -> list[int]:
    """The processes in which tasks are: what Spark's daemon has forked."""
    daemons = [each for each in descendants(pid) if any(name in _command(each) for name in DAEMONS)]
    return [each for daemon in daemons for each in children(daemon)]


def _command(pid: int) -> bytes:
    """Empty where the process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
