"""Spark for the tests: where the set-up has put it, if it has, and projects that load by it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from demo.from_debian import servers_folder
from tests.e2e.work import Work

TASKS = 2


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
