"""Spark's driver: it gives each part of the job to a task. It knows nothing of what a task does."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from whimbrel.errors import UserError, WhimbrelError
from whimbrel.migration.spark.job import SparkJob, read_job
from whimbrel.migration.spark.places import Place, Where, place_at
from whimbrel.migration.spark.told import DONE, Done, done_to_json, tell_failure

if TYPE_CHECKING:
    from pyspark import SparkContext

HOME = Path("spark-home")  # in the state folder, where a driver of this machine runs
MOST_SHUFFLED = 4_000  # partitions of a shuffle


class Functions(NamedTuple):
    """What executors do, as ``boot`` has it: of the job's folder and a chunk's number, or batches of Arrow."""

    load_chunk: Callable[[Any, int], None]
    rows_of_chunks: Callable[[Any, Any], Iterator[Any]]
    load_sorted: Callable[[Any, Any], Iterator[Any]]


def drive(where: Where, master: str, functions: Functions) -> int:
    """Do the job of the folder ``where``; the exit code. ``master`` is "" where a cluster has set it."""
    place = place_at(where)
    try:
        job = read_job(place)
        context = _context(master, rows=bool(job.partitions))
    except WhimbrelError as error:
        tell_failure(place, error)
        return 1
    try:
        refuse_settings(dict(context.getConf().getAll()), job)
        if job.partitions:
            _bring_together(context, job, place, where, functions)
        else:
            _load_chunks(context, job, where, functions)
    except WhimbrelError as error:
        tell_failure(place, error)
        return 1
    finally:
        context.stop()
    return 0


def _context(master: str, *, rows: bool) -> SparkContext:
    """``rows``: whether any go through Spark. Raises UserError where Spark cannot be started."""
    if master and not rows:
        sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # pyspark would import it, for statistics
    try:
        import pyspark
        from pyspark import SparkConf, SparkContext
    except ImportError as error:
        hint = "Install it, with Java 17: pip install 'whimbrel[spark]'."
        raise UserError(f"Spark is not installed: {error}", place="spark.runner", hint=hint) from error
    try:
        conf = SparkConf().setAppName("whimbrel")
        if master:
            conf = conf.setMaster(master).setAll((_LOCAL | ({} if rows else _NO_ROWS)).items())
            os.environ.setdefault("SPARK_HOME", _home(Path(pyspark.__file__).parent))
        return SparkContext(conf=conf)
    except Exception as error:  # pyspark's own, and Py4J's
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "Spark needs Java 17: install it, or set JAVA_HOME."
        raise UserError(f"Spark could not be started: {reason}", place="spark.runner", hint=hint) from error


def _home(installed: Path) -> str:
    """Spark as it is installed, but for a zip file of its Python modules, which comes before all else and has nothing
    compiled: 1.5 s of CPU time for each job.
    """
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    for each in installed.iterdir():
        if each.name != "python":
            (HOME / each.name).symlink_to(each)
    return str(HOME.resolve())


# Nobody else on the machine's network can reach it, and a failed task is tried as often as on a cluster.
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.speculation": "false",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",  # of a process with few threads
}
# No row goes through the JVM, so to compile it well costs more than it saves.
_NO_ROWS = {
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.python.daemon.module": "whimbrel.migration.spark.forked",
}


def refuse_settings(settings: dict[str, str], job: SparkJob) -> None:
    """Raises UserError for settings of the cluster with which the job would not do what it is asked to."""
    if settings.get("spark.speculation", "false").lower() == "true":
        raise UserError(
            "speculation is on: each part may be written twice at once, by more tasks than share the write cap",
            place="spark.speculation",
            hint="Set spark.speculation=false for this application.",
        )
    found = slots(settings)
    if job.target.max_write_units and (found is None or found > job.tasks):
        raise UserError(
            f"max_write_units is shared by {job.tasks} tasks, and {found or 'an unknown number'} may run at once",
            place="spark.tasks",
            hint="Set spark.tasks to what the cluster runs at once, or take max_write_units out of [target].",
        )


def slots(settings: dict[str, str]) -> int | None:
    """How many tasks may run at once; None where the settings do not say."""
    if local := re.fullmatch(r"local\[(\d+)(?:,\d+)?\]", settings.get("spark.master", "")):
        return int(local[1])
    if cluster := re.fullmatch(r"local-cluster\[(\d+),(\d+),\d+\]", settings.get("spark.master", "")):
        return int(cluster[1]) * int(cluster[2])
    dynamic = settings.get("spark.dynamicAllocation.enabled", "false").lower() == "true"
    executors = settings.get("spark.dynamicAllocation.maxExecutors" if dynamic else "spark.executor.instances", "")
    cores = settings.get("spark.executor.cores", "")
    if not (executors.isdigit() and cores.isdigit()):
        return None
    return int(executors) * (int(cores) // int(settings.get("spark.task.cpus", "1")))


def _load_chunks(context: SparkContext, job: SparkJob, where: Where, functions: Functions) -> None:
    """A task for each chunk: no rows go through Spark."""
    context.parallelize(job.parts, max(1, len(job.parts))).foreach(partial(functions.load_chunk, tuple(where)))


def _bring_together(context: SparkContext, job: SparkJob, place: Place, where: Where, functions: Functions) -> None:
    from pyspark.sql import SparkSession

    from whimbrel.migration.spark.shuffle import COLUMNS

    session = SparkSession(context)
    numbers = context.parallelize([(each.chunk.number,) for each in job.chunks], len(job.chunks))
    chunks = session.createDataFrame(numbers, "number int")
    keyed = chunks.mapInArrow(partial(functions.rows_of_chunks, tuple(where)), COLUMNS)
    together = keyed.repartition(min(len(job.parts), MOST_SHUFFLED), "part").sortWithinPartitions("part", "key")
    loaded = together.mapInArrow(partial(functions.load_sorted, tuple(where)), "part int").collect()
    for number in set(job.parts) - {each.part for each in loaded}:  # no row belongs there
        place.put_new(f"{DONE}{number}", done_to_json(Done(number)))
