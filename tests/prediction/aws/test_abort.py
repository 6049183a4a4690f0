"""`whimbrel renew --abort` while another machine is at any step of the renewal: nothing of it goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.prediction.aws.conftest import Project
from tests.prediction.aws.test_renew import ALGORITHM, Machine, pin, records, runs
from whimbrel.prediction.aws import training_job
from whimbrel.prediction.renew import abort as aborting
from whimbrel.prediction.renew import project as steps
from whimbrel.prediction.renew.abort import Running, abort
from whimbrel.prediction.renew.renew import new_run
from whimbrel.project import load_project


@pytest.mark.parametrize(
    ("step", "done_by", "earlier"),
    [("export", "make_export", False), ("export", "make_export", True), ("convert", "make_dataset", False)],
)
def test_an_execution_that_is_aborted_during_a_step_ends_there(
    project: Project, monkeypatch: pytest.MonkeyPatch, step: str, done_by: str, earlier: bool
) -> None:
    """``earlier``: it continues what another execution began."""
    project.write(model=ALGORITHM)
    if earlier:
        held = runs(project, "arn:zero")
        held.unfinished()
        new_run(held)
    project.put(0, 400)
    pin(project)
    real, other = getattr(steps, done_by), load_project(project.machine("other").folder / "whimbrel.toml")
    aborted: list[Any] = []

    def meanwhile(*given: Any, **named: Any) -> Any:
        aborted.extend(abort(other, project.name, print))
        return real(*given, **named)

    monkeypatch.setattr(steps, done_by, meanwhile)
    machine = Machine(project, "arn:aws:states:us-east-1:1:execution:renew:one")
    assert machine.run() == "Failed"
    assert machine.visited[-3:] == [step.capitalize(), "Tell", "Failed"]
    assert [each.step for each in aborted] == [step], "the later tries of the step do nothing"
    assert project.jobs() == []
    [line] = records(project)
    assert (line["outcome"], line["execution"]) == ("aborted", machine.execution)
    monkeypatch.undo()
    if step == "convert":
        assert Machine(project, "arn:two").run() == "Update", "the next one begins"


def test_a_job_that_is_asked_for_meanwhile_is_ended_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a machine that was about to ask for it."""
    project.write(model=ALGORITHM)
    held = runs(project)
    held.unfinished()
    new_run(held)
    found = iter(([], [Running("job", "whimbrel-m-1", project.name, "InProgress")]))
    monkeypatch.setattr(aborting, "_jobs", lambda *_: next(found))
    monkeypatch.setattr(training_job, "stopped", lambda *_: "Stopped")
    [done] = abort(load_project(project.folder / "whimbrel.toml"), project.name, print)
    assert (done.jobs, done.step) == ({"whimbrel-m-1": "Stopped"}, "export")
