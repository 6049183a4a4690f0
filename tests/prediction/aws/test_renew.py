"""`whimbrel renew` on SageMaker: on one machine, step by step on many, and killed anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.killed_at_a_write import killed_at
from tests.prediction.aws.conftest import Project
from tests.prediction.serve.conftest import wait_for
from whimbrel.aws.renewal import definition
from whimbrel.bucket import bucket_of
from whimbrel.errors import Locked
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.renew.renew import begun
from whimbrel.prediction.renew.shared import SharedRuns, release, sole_renewal
from whimbrel.project import load_project
from whimbrel.project.renew import STEPS

MODEL = 'exclude = ["customer_id"]\n'
ALGORITHM = MODEL + 'learner = "linear-learner"\n'
# Ends itself by SIGKILL at the write to SageMaker or S3 whose number STEPS says: before it, or after it.
KILLED = killed_at(("Create", "Update", "Put", "Delete", "Stop", "Upload", "Complete"))


def records(project: Project) -> list[dict[str, Any]]:
    names = project.bucket.names(f"renewals/{project.name}/record/")
    return [json.loads(project.bucket.get(name)) for name in names]


def killed(project: Project, steps: int) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "renew"],
        cwd=project.folder,
        env={**os.environ, "STEPS": str(steps)},
        capture_output=True,
        timeout=200,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def runs(project: Project, execution: str = "") -> SharedRuns:
    found = load_project(project.folder / "whimbrel.toml")
    assert found.lake.store
    return SharedRuns(bucket_of(found.lake.store, found.target), project.name, execution)


def bucket(project: Project) -> Any:
    found = load_project(project.folder / "whimbrel.toml")
    assert found.lake.store
    return bucket_of(found.lake.store, found.target)


@pytest.mark.parametrize(
    "model", [pytest.param(MODEL, id="container", marks=pytest.mark.slow), pytest.param(ALGORITHM, id="linear-learner")]
)
def test_a_renewal_is_a_record_and_what_is_not_better_stays_out(project: Project, model: str) -> None:
    project.write(model=model)
    project.put(0, 600)
    first = project.run("renew")
    assert first["outcome"] == "renewed", first
    assert first["results"]["gate"]["reason"] == "there is no model to compare with"
    second = project.run("renew")
    assert second["outcome"] == "kept"
    assert second["results"]["gate"]["reason"] == "no row has changed since the current model was trained"
    assert len(project.jobs()) == 1
    project.put(600, 900)
    third = project.machine("other").run("renew")
    gate = third["results"]["gate"]
    assert set(gate["figures"]) == {"log_loss", "auc"}
    assert all(each["present"] is not None for each in gate["figures"].values())
    assert third["outcome"] == ("renewed" if gate["passed"] else "kept")
    assert [each["outcome"] for each in records(project)] == ["renewed", "kept", third["outcome"]]
    assert project.bucket.get(f"lake/renewals/{project.name}/lock.json").find(b'"owner": ""') > 0


@pytest.mark.slow
def test_killed_at_any_write_it_ends_as_if_it_had_not_been(project: Project) -> None:
    """Every fourth write: between them lies every step, and the beginning and the end of each."""
    project.write(model=ALGORITHM)
    project.put(0, 400)
    ended = 0
    for steps in range(1, 400, 4):
        if not killed(project, steps):
            break
        ended += 1
        for each in records(project):
            assert each["outcome"] in ("renewed", "kept")
        assert len([name for name, status in project.listed().items() if status == "InProgress"]) <= 1
    assert ended > 3
    [line] = records(project)
    assert line["outcome"] == "renewed"
    assert list(project.listed().values()) == ["Completed"]
    found = project.client.describe_endpoint(EndpointName=project.endpoint)
    assert found["EndpointStatus"] == "InService"
    [status] = project.run("endpoint", "status")["endpoints"]
    assert status["variants"][0]["version"] == line["results"]["train"]["version"]
    assert project.run("status") == {"running": []}


class Machine:
    """Executes the template's state machine: each task on a machine of its own, by the command that it names."""

    def __init__(self, project: Project, execution: str) -> None:
        self.project, self.execution = project, execution
        place = {"cluster": "c", "tasks": dict.fromkeys(STEPS, "t"), "subnets": [], "groups": [], "topic": "told"}
        self.definition = definition(place)
        self.told: list[str] = []
        self.visited: list[str] = []

    def run(self, fail: dict[str, int] | None = None) -> str:
        """Its last state. ``fail``: by state, how often its task is lost before it begins."""
        left, name = dict(fail or {}), self.definition["StartAt"]
        while True:
            state = self.definition["States"][name]
            self.visited.append(name)
            if state["Type"] == "Fail":
                return name
            if state["Resource"].endswith("sns:publish"):
                self.told.append(state["Parameters"]["Message.$"])
                name = state["Next"]
                continue
            for _ in range(1 + sum(each["MaxAttempts"] for each in state["Retry"])):
                lost = left.get(name, 0) > 0
                left[name] = left.get(name, 0) - 1
                if not lost and self._task(state) == 0:
                    name = state.get("Next", "")
                    break
            else:
                [catch] = state["Catch"]
                name = catch["Next"]
            if not name:
                return self.visited[-1]

    def _task(self, state: Any) -> int:
        [container] = state["Parameters"]["Overrides"]["ContainerOverrides"]
        words = container["Command.$"].removeprefix("States.Array(").removesuffix(")").split(", ")
        values = {"$.model": self.project.name, "$$.Execution.Id": self.execution}
        program, *arguments = [values.get(word, word.strip("'")) for word in words]
        assert program == "renew"
        machine = self.project.machine(f"task-{len(self.visited)}-{time.monotonic_ns()}")
        return machine.call("renew", "--json", *arguments).exit_code


def pin(project: Project) -> None:
    """What a person does once: the types go into the project file."""
    project.run("export", project.names["table"])
    project.run("convert", project.names["table"])
    project._text = (project.folder / "whimbrel.toml").read_text()


def test_the_state_machine_renews_step_by_step_on_machines_of_their_own(project: Project) -> None:
    project.write(model=ALGORITHM)
    project.put(0, 400)
    pin(project)
    machine = Machine(project, "arn:aws:states:us-east-1:1:execution:renew:one")
    assert machine.run(fail={"Convert": 2, "Train": 1}) == "Update"
    assert machine.visited == ["Export", "Convert", "Train", "Gate", "Update"]
    [line] = records(project)
    assert (line["outcome"], line["execution"]) == ("renewed", machine.execution)
    # Nothing has changed: the gate ends the run, and the last task has nothing to do.
    again = Machine(project, "arn:two")
    assert again.run() == "Update"
    assert [each["outcome"] for each in records(project)] == ["renewed", "kept"]


def test_what_cannot_go_on_is_told_and_the_next_execution_begins_with_fresh_data(project: Project) -> None:
    project.write(model=ALGORITHM + 'hyperparameters = { nonsense = "1" }\n')
    project.put(0, 400)
    pin(project)
    machine = Machine(project, "arn:one")
    assert machine.run() == "Failed"
    assert machine.told
    assert machine.visited == ["Export", "Convert", "Train", "Tell", "Failed"]
    [line] = records(project)
    assert (line["outcome"], "nonsense" in line["error"]) == ("failed", True)
    assert len(project.listed()) == 1


def test_types_that_nobody_pinned_are_refused_before_anything_is_done(project: Project) -> None:
    project.write(model=ALGORITHM)
    words = ("--model", project.name, "--step", "export", "--execution", "a")
    assert "its types are not in the project file" in project.run("renew", *words, code=2)["message"]


def test_a_step_needs_the_one_before_it(project: Project) -> None:
    project.write(model=ALGORITHM)
    text = (project.folder / "whimbrel.toml").read_text()
    table = project.names["table"]
    pinned = f'table = "{table}"\nname = "{project.name}"\ncolumns = {{ y = "int" }}'
    (project.folder / "whimbrel.toml").write_text(text.replace(f'table = "{table}"\nname = "{project.name}"', pinned))
    words = ("--model", project.name, "--step", "gate", "--execution", "a")
    assert "export is not done, which comes before gate" in project.run("renew", *words, code=2)["message"]


def test_two_executions_at_once_are_one_and_a_refusal(project: Project) -> None:
    held = bucket(project)
    with sole_renewal(held, project.name, "arn:one", lambda: True):
        pass
    said = project.run("renew", code=3)
    assert said["error"] == "Locked"
    assert "arn:one renews it" in said["message"]
    with sole_renewal(held, project.name, "arn:one"):
        pass
    release(held, project.name)
    with sole_renewal(held, project.name, "another"):
        pass


def test_a_lock_whose_holder_is_gone_is_free_after_its_lease(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from whimbrel.prediction.renew import shared

    held = bucket(project)
    monkeypatch.setattr(shared, "LEASE", -1.0)
    with sole_renewal(held, project.name, "gone", lambda: True):
        pass
    with sole_renewal(held, project.name, "another"):
        pass


def test_of_two_processes_that_continue_one_run_the_second_to_save_loses(project: Project) -> None:
    """As when a lease ran out although its holder was alive."""
    one, two = runs(project), runs(project)
    assert one.unfinished() is None
    assert two.unfinished() is None
    run = begun()
    run["results"]["export"] = {"n": 1}
    one.save(run)
    with pytest.raises(Locked, match="another process has continued this renewal"):
        two.save(begun())
    run["results"]["convert"] = {"n": 2}
    one.save(run)
    assert set(two.unfinished()["results"]) == {"export", "convert"}


def test_a_crash_between_the_record_and_the_end_of_the_run_writes_it_once(project: Project) -> None:
    held = runs(project)
    held.unfinished()
    run = begun()
    held.save(run)
    line = run | {"outcome": "kept", "ended": "then"}
    held._bucket.put_new(f"renewals/{project.name}/record/{_began(run)}-{run['run']}.json", json.dumps(line).encode())
    again = runs(project)
    found = again.unfinished()
    assert found is not None
    again.end(found | {"outcome": "kept", "ended": "later"})
    assert [each["ended"] for each in records(project)] == ["then"]
    assert again.unfinished() is None


def _began(run: dict[str, Any]) -> str:
    return str(run["began"]).replace(":", "").replace("-", "")


def test_what_runs_is_listed_also_where_no_migration_has_begun(project: Project) -> None:
    """It may be another machine's, and what is paid for must not go unnoticed."""
    project.write()
    file = project.folder / "whimbrel.toml"
    file.write_text(f'[source]\nurl = "mysql://u@127.0.0.1:1/shop"\n{file.read_text()}')
    assert project.run("status") == {"running": []}


@pytest.mark.slow
def test_abort_ends_the_job_the_run_and_the_lock(project: Project) -> None:
    project.write(model=ALGORITHM)
    project.put(0, 400)
    project.sagemaker.change(job_seconds=60.0)
    process = project.beside("renew")
    wait_for(lambda: "InProgress" in project.listed().values(), 120)
    process.kill()
    other = project.machine("other")
    assert [each["kind"] for each in other.run("status")["running"]] == ["job"]
    said = other.run("renew", "--abort")
    assert (list(said["jobs"].values()), said["step"]) == (["Stopped"], "train")
    assert other.run("status") == {"running": []}
    [line] = records(project)
    assert (line["outcome"], line["step"]) == ("aborted", "train")
    project.sagemaker.change(job_seconds=0)
    assert project.run("renew")["outcome"] == "renewed"
    assert sorted(project.listed().values()) == ["Completed", "Stopped"]


@pytest.mark.slow
def test_a_renewal_with_a_canary_answers_all_the_time(project: Project) -> None:
    project.write(model=MODEL, hosting='traffic = "CANARY"\nwait = 1\nbake = 1\n')
    project.put(0, 600)
    project.run("renew")
    columns = row_of(project)
    project.put(600, 1_000)
    renewal = project.machine("other").beside("renew")
    failed = []
    while renewal.process.poll() is None:
        answer = project.call("predict", "--endpoint", project.endpoint, columns)
        if answer.exit_code:
            failed.append(answer.output)
    _, renewed = renewal.end()
    assert failed == []
    assert renewed["outcome"] in ("renewed", "kept")


def row_of(project: Project) -> str:
    model = next(Path(project.folder / ".whimbrel" / "models" / project.name).glob("*/model.json"))
    found = load_model(model)
    typical = {each.column: each.categories[0] if each.type == "category" else each.mean for each in found.inputs}
    return ",".join(str(typical[name]) for name in found.columns)
