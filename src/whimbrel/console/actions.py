"""What a person can have done from the page. Each is a function of ``whimbrel.api``, as the commands call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whimbrel.api import checks, handover, migration
from whimbrel.console.works import Work
from whimbrel.errors import UserError
from whimbrel.project import Project

Given = Mapping[str, Any]
Do = Callable[[Project, Given, Work], Any]


@dataclass(frozen=True, slots=True)
class Action:
    """``steers``: it changes something, so it is refused with --read-only, and one is done at a time. ``words`` are
    what a person types to have it begin; "" where a click will do. ``file`` is what of the given may name a file: who
    may only look is not shown what the project does not have.
    """

    do: Do
    steers: bool = True
    words: str = ""
    file: str = ""

    def names_a_file(self, given: Given) -> bool:
        return bool(self.file) and given.get(self.file) not in (None, "", "performance_schema")

    def refuse_unconfirmed(self, given: Given) -> None:
        """Raises UserError."""
        if self.words and given.get("confirm") != self.words:
            hint = f"Type exactly: {self.words}"
            raise UserError("this was not confirmed, and nothing was done", place="console", hint=hint)


def _check(project: Project, given: Given, work: Work) -> Any:
    return checks.check(
        project,
        statements=str(given.get("statements") or ""),
        progress=lambda table: work.note(f"Looked at {table}."),
    ).to_dict()


def _verify(project: Project, given: Given, work: Work) -> Any:
    found = migration.verify(project, progress=work.tell, stop=work.stop)
    differences = sum(sum(table.counts.values()) for table in found.tables)
    return {"equal": found.equal, "differences": differences}


def _retry_dead(project: Project, given: Given, work: Work) -> Any:
    return migration.retry_dead(project, stop=work.stop).to_dict()


def _plan(project: Project, given: Given, work: Work) -> Any:
    return handover.plan_cutover(project).to_dict()


def _cutover(project: Project, given: Given, work: Work) -> Any:
    """Follows DynamoDB back into the source for as long as the console runs, or until it is stopped."""
    return handover.cutover(project, until_open=False, progress=work.tell, stop=work.stop).to_dict()


def _rollback(project: Project, given: Given, work: Work) -> Any:
    return handover.rollback(project, progress=work.tell, stop=work.stop).to_dict()


def _finish(project: Project, given: Given, work: Work) -> Any:
    return handover.finish(project, keep_fence=bool(given.get("keep_fence")), stop=work.stop).to_dict()


ACTIONS = {
    "check": Action(_check, steers=False, file="statements"),
    "verify": Action(_verify),
    "retry-dead": Action(_retry_dead),
    "plan": Action(_plan),
    "cutover": Action(_cutover, words="cut over"),
    "rollback": Action(_rollback, words="roll back"),
    "finish": Action(_finish, words="give up the way back"),
}
