"""A migration and a nightly renewal as Airflow DAGs.

The project file, its state folder and its lake are on a disk that every worker sees, or the tasks run in a pool on one
worker. A task that is killed or fails is retried, and continues from what was saved.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task  # airflow.decorators before Airflow 3

PROJECT = os.environ.get("WHIMBREL_PROJECT", "/srv/shop/whimbrel.toml")
RETRIED = {"retries": 5, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True}


def done_or_failed(verb: Callable[[], Any]) -> Any:
    """What ``verb`` returns. What no retry can put right fails the task for good."""
    from whimbrel.errors import UserError

    try:
        return verb()
    except UserError as error:
        raise AirflowFailException(str(error)) from error


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def whimbrel_migration() -> None:
    @task(retries=0)
    def check() -> int:
        import whimbrel

        report = done_or_failed(lambda: whimbrel.check(PROJECT))
        if report.errors:
            raise AirflowFailException("; ".join(each.reason for each in report.findings if each.severity == "error"))
        return len(report.findings)

    @task(**RETRIED)
    def migrate(_warnings: int) -> dict[str, Any]:
        import whimbrel

        return done_or_failed(lambda: whimbrel.migrate(PROJECT)).to_dict()

    @task(**RETRIED)
    def verify(migrated: dict[str, Any]) -> dict[str, Any]:
        import whimbrel

        found = done_or_failed(lambda: whimbrel.verify(PROJECT))
        if not found.equal or migrated["dead"]:
            raise AirflowFailException(f"dead letters: {migrated['dead']}; differences: see `whimbrel verify`")
        return found.to_dict()

    verify(migrate(check()))


@dag(schedule="0 3 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def whimbrel_renewal() -> None:
    @task(**RETRIED)
    def renew() -> list[dict[str, Any]]:
        import whimbrel

        return [each.to_dict() for each in done_or_failed(lambda: whimbrel.renew(PROJECT))]

    renew()


whimbrel_migration()
whimbrel_renewal()
