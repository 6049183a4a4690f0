"""``[spark]``: who runs the job that load.engine = "spark" makes of a table, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from whimbrel.project.section import Section
from whimbrel.project.store import Store

LOCAL = "local"
# What each runner must be told. Those on AWS find the job's archive in a bucket.
RUNNERS: dict[str, tuple[str, ...]] = {
    LOCAL: (),
    "emr-serverless": ("application", "role", "archive"),
    "glue": ("job", "archive"),
    "emr": ("cluster", "archive"),
}
JOB_NAME = "[a-zA-Z0-9 ._+=,@()-]{1,255}"
# What AWS takes; these are part of policies, in which nothing may need quoting.
_FORMS = {
    "application": ("[a-z0-9]{1,64}", "the id of an application of EMR Serverless"),
    "role": (r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+", "the ARN of a role"),
    "job": (JOB_NAME, "the name of a job of Glue, of letters, digits, blanks and ._-+=,@()"),
    "cluster": ("j-[A-Z0-9]+", "the id of a cluster of EMR"),
}
PYTHON = "python3.11"
GLUE_CORES = 4  # of a worker of the type G.1X


@dataclass(frozen=True, slots=True)
class Spark:
    """``tasks`` is how many run at once, on all machines together: each has its share of what may be written. A table
    with fewer than ``least_rows`` is loaded by the process itself. ``application`` (EMR Serverless) with its ``role``,
    ``job`` (Glue) or ``cluster`` (EMR) is where it runs, ``archive`` the URL of its package and ``python`` the
    interpreter there; ``endpoint`` a stand-in's or a VPC endpoint's, "" for AWS.
    """

    runner: str = LOCAL
    tasks: int = 2
    least_rows: int = 1_000_000
    application: str = ""
    role: str = ""
    job: str = ""
    cluster: str = ""
    archive: str = ""
    python: str = PYTHON
    endpoint: str = ""


def read_spark(top: Section, loader: str, store: Store | None) -> Spark | None:
    """None where Spark does not load."""
    section = top.section("spark")
    default = Spark()
    spark = Spark(
        runner=section.one_of("runner", tuple(RUNNERS)),
        tasks=section.integer("tasks", default.tasks, least=1),
        least_rows=section.integer("least_rows", default.least_rows),
        application=section.string("application", ""),
        role=section.string("role", ""),
        job=section.string("job", ""),
        cluster=section.string("cluster", ""),
        archive=section.string("archive", ""),
        python=section.string("python", default.python),
        endpoint=section.address("endpoint"),
    )
    for key, reason in _faults(section, spark, loader, store):
        section.fault(key, reason)
    section.finish()
    return spark if loader == "spark" else None


def _faults(section: Section, spark: Spark, loader: str, store: Store | None) -> Iterator[tuple[str, str]]:
    if loader != "spark":
        for key in ("runner", "tasks", "least_rows", *_keys(), "python", "endpoint"):
            if section.has(key):
                yield key, 'has no effect without load.engine = "spark"'
        return
    needed = RUNNERS[spark.runner]
    for key in _keys():
        if key in needed and not getattr(spark, key):
            yield key, f'is missing, and runner = "{spark.runner}" needs it'
        if key not in needed and section.has(key):
            yield key, f'has no effect with runner = "{spark.runner}"'
    if spark.runner == LOCAL:
        for key in ("python", "endpoint"):
            if section.has(key):
                yield key, 'has no effect with runner = "local"'
    elif store is None:
        yield "runner", f'"{spark.runner}" needs snapshot.store: its machines read the files from a bucket'
    if spark.runner == "glue" and spark.tasks % GLUE_CORES:
        yield "tasks", f'must be a multiple of {GLUE_CORES} with runner = "glue", whose workers have as many cores'
    for key, (form, said) in _FORMS.items():
        if (value := getattr(spark, key)) and not re.fullmatch(form, value):
            yield key, f"must be {said}, not {value!r}"
    if not re.fullmatch(r"[\w./-]+", spark.python, re.ASCII):
        yield "python", f"must be the path of a Python, not {spark.python!r}"
    if spark.archive and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+/[\w.=/-]+\.zip", spark.archive, re.ASCII):
        yield "archive", f"must be s3://BUCKET/KEY.zip, not {spark.archive!r}"


def _keys() -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for needed in RUNNERS.values() for key in needed))
