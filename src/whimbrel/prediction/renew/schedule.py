"""Renewals by the clock: APScheduler's cron triggers, never two at once, made up for once, with back-off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.lake.need import need
from whimbrel.project.renew import RenewalRule, cron_error, cron_fault

LONGEST_BACK_OFF = 86_400.0  # seconds

log = logging.getLogger(__name__)


def trigger(rule: RenewalRule) -> Any:
    """The rule's cron expression as a trigger, in UTC. Raises ProjectError when it is none that means one thing."""
    cron = need("apscheduler.triggers.cron", "predict")
    try:
        if fault := cron_fault(rule.cron):
            raise ValueError(fault)
        made = cron.CronTrigger.from_crontab(rule.cron, timezone=UTC)
        if made.get_next_fire_time(None, datetime.now(UTC)) is None:
            raise ValueError("there is no such day")
    except ValueError as error:
        raise cron_error(rule, str(error)) from None
    return made


def back_off(rule: RenewalRule, failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return float(min(LONGEST_BACK_OFF, rule.back_off * 2.0 ** min(failures - 1, 64)))


class Scheduler:
    """Runs ``renew_one`` for each rule when it is due, until ``stop`` is set.

    One thread, so there are never two renewals at once; what is due meanwhile runs once afterwards. So does what
    was due since ``last``, the time of the last renewal (a scheduler that was down makes up for it).
    ``due`` says when each model is next.
    """

    def __init__(
        self,
        rules: tuple[RenewalRule, ...],
        renew_one: Callable[[RenewalRule], None],
        last: Callable[[RenewalRule], datetime | None],
        stop: threading.Event,
    ) -> None:
        self._triggers = {rule.model: trigger(rule) for rule in rules}
        self._rules = rules
        self._renew_one = renew_one
        self._stop = stop
        self._failures = dict.fromkeys(self._triggers, 0)
        self.due = {rule.model: self._after(rule, last(rule) or datetime.now(UTC)) for rule in rules}

    def run(self) -> None:
        """Wait and renew until ``stop`` is set."""
        while not self._stop.is_set():
            rule = min(self._rules, key=lambda each: self.due[each.model])
            wait = (self.due[rule.model] - datetime.now(UTC)).total_seconds()
            if wait > 0 and self._stop.wait(min(wait, 60.0)):  # in pieces: the machine's clock may be set meanwhile
                return
            if self.due[rule.model] <= datetime.now(UTC):
                self.due[rule.model] = self._next(rule)

    def _next(self, rule: RenewalRule) -> datetime:
        """Renew, and say when the next time is: by the cron expression, or after a failure by the back-off."""
        now = datetime.now(UTC)
        try:
            self._renew_one(rule)
        except Stopped:
            return now
        except (WhimbrelError, OSError) as error:
            self._failures[rule.model] += 1
            seconds = back_off(rule, self._failures[rule.model])
            log.error("renewal failed", extra={"model": rule.model, "reason": str(error), "again_in": seconds})
            return datetime.now(UTC) + timedelta(seconds=seconds)
        self._failures[rule.model] = 0
        return self._after(rule, datetime.now(UTC))

    def _after(self, rule: RenewalRule, moment: datetime) -> datetime:
        """The first time that is due later than ``moment``: a trigger counts the moment itself."""
        due: datetime = self._triggers[rule.model].get_next_fire_time(None, moment + timedelta(microseconds=1))
        return due
