"""Who runs a job: the words in which a run asks for one, and hears of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from whimbrel.dynamodb.session import translate
from whimbrel.errors import UnexpectedAnswer
from whimbrel.migration.spark.places import Where
from whimbrel.project import Spark

BOOT = "boot.py"
MEGABYTES_OF_A_CORE = 4096  # that an executor has: for the JVM, and for Python beside it
_PYTHON_SHARE = 1024  # of them


class Submission(NamedTuple):
    """``where`` is the job's folder, which has the file to start (BOOT), too; ``state`` that of the project."""

    where: Where
    spark: Spark
    state: Path

    @property
    def name(self) -> str:
        """The job's own: no other has it."""
        return self.where.name

    @property
    def boot(self) -> str:
        return f"{self.where.url}/{BOOT}"

    @property
    def arguments(self) -> dict[str, str]:
        """Of the file to start. No profile: on a cluster, its role has the rights."""
        named = {"job": self.where.url, "endpoint": self.where.endpoint, "region": self.where.region}
        return {f"--whimbrel-{name}": value for name, value in named.items() if value}


class JobState(NamedTuple):
    """``said`` is the runner's own word. ``failed`` says why a job that is not ``running`` did not do all."""

    running: bool
    said: str
    failed: str = ""


class Runner(Protocol):
    """All raise Throttled and TargetUnreachable, after which the same may be asked again; PrivilegeError and
    RequestRefused, after which not.
    """

    def submit(self) -> str:
        """Start it; its id."""

    def state(self, job: str) -> JobState: ...

    def cancel(self, job: str) -> None:
        """Have it end, as soon as it may. Nothing happens where it has ended."""

    def where(self, job: str) -> str:
        """Where a person finds what it logged."""

    def close(self) -> None: ...


def shape(tasks: int) -> tuple[int, int]:
    """How many executors of how many cores run so many tasks at once, and no more. EMR Serverless has none of 3."""
    cores = next(each for each in (4, 2, 1) if tasks % each == 0)
    return tasks // cores, cores


def memory(spark: Spark) -> dict[str, str]:
    """By their cores: what a cluster gives by default may be more than an executor of one core can have."""
    _, cores = shape(spark.tasks)
    return {
        "spark.executor.memory": f"{cores * (MEGABYTES_OF_A_CORE - _PYTHON_SHARE)}m",
        "spark.executor.memoryOverhead": f"{cores * _PYTHON_SHARE}m",
    }


def settings(spark: Spark) -> dict[str, str]:
    """What the cluster must have, so that so many tasks run at once."""
    executors, cores = shape(spark.tasks)
    return {
        "spark.speculation": "false",
        "spark.dynamicAllocation.enabled": "false",
        "spark.executor.instances": str(executors),
        "spark.executor.cores": str(cores),
    }


def called(call: Callable[..., Any], place: str, **request: Any) -> Any:
    """The answer to a call of boto3, whose errors become whimbrel's."""
    try:
        return call(**request)
    except Exception as error:  # what boto3 raises; the others go on as they are
        translate(error, place)


def said(answer: Any, place: str, *path: str) -> str:
    """What an answer has at ``path``. Raises UnexpectedAnswer: without it, nobody knows how the job is."""
    found = answer
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str) or not found:
        raise UnexpectedAnswer(f"the answer has no {'.'.join(path)}", place=place, hint="Run the same command again.")
    return found
