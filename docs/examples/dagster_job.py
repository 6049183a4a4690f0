"""A migration and a nightly renewal as Dagster jobs.

The project file, its state folder and its lake are on the disk of the code location. An op that fails is retried, and
continues from what was saved.
"""

import os
from collections.abc import Callable
from typing import Any

from dagster import Backoff, Definitions, Failure, OpExecutionContext, RetryPolicy, ScheduleDefinition, job, op

import whimbrel
from whimbrel.errors import UserError

PROJECT = os.environ.get("WHIMBREL_PROJECT", "/srv/shop/whimbrel.toml")
RETRIED = RetryPolicy(max_retries=5, delay=60, backoff=Backoff.EXPONENTIAL)


def done_or_failed(verb: Callable[[], Any]) -> Any:
    """What ``verb`` returns. What no retry can put right fails the op for good."""
    try:
        return verb()
    except UserError as error:
        raise Failure(str(error), allow_retries=False) from error


@op
def check() -> int:
    report = done_or_failed(lambda: whimbrel.check(PROJECT))
    if report.errors:
        raise Failure("; ".join(each.reason for each in report.findings if each.severity == "error"))
    return len(report.findings)


@op(retry_policy=RETRIED)
def migrate(context: OpExecutionContext, warnings: int) -> int:
    def log(update: whimbrel.Update) -> None:
        if update.message:
            context.log.info(update.message)

    done = done_or_failed(lambda: whimbrel.migrate(PROJECT, progress=log))
    return int(done.dead_letters)


@op(retry_policy=RETRIED)
def verify(dead_letters: int) -> bool:
    found = done_or_failed(lambda: whimbrel.verify(PROJECT))
    if not found.equal or dead_letters:
        raise Failure(f"dead letters: {dead_letters}; differences: see `whimbrel verify`", allow_retries=False)
    return True


@op(retry_policy=RETRIED)
def renew() -> list[str]:
    return [each.outcome for each in done_or_failed(lambda: whimbrel.renew(PROJECT))]


@job
def whimbrel_migration() -> None:
    verify(migrate(check()))


@job
def whimbrel_renewal() -> None:
    renew()


definitions = Definitions(
    jobs=[whimbrel_migration, whimbrel_renewal],
    schedules=[ScheduleDefinition(job=whimbrel_renewal, cron_schedule="0 3 * * *")],
)
