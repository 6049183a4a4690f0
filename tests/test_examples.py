"""The examples of docs/examples at work: the script as it stands; the DAGs and jobs of Airflow and Dagster by stand-ins
that are called as those are, and by the real libraries where somebody has installed them (tried with Airflow 3.3 and
Dagster 1.13).
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.e2e.work import Work

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
ROWS = 200
PEOPLE = 'shape = "record"\npartition_key = { name = "id", type = "N" }\nassert_unique = true'
RENEWAL = """
[[dataset]]
table = "{target}"
name = "people"
[[model]]
name = "people"
target = "y"
learner = "linear"
exclude = ["id"]
[[renewal]]
model = "people"
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB, ministack: Ministack) -> Work:
    folder = tmp_path_factory.mktemp("people")
    work = Work(folder, mariadb, mariadb.new_database(), ministack, unique("person"), mapping=PEOPLE, table="person")
    values = ", ".join(f"({n}, {20 + n % 50}, '{'ab'[n % 2]}', {int(n % 50 > 25)})" for n in range(ROWS))
    mariadb.execute(
        f"CREATE TABLE `{work.database}`.person (id INT PRIMARY KEY, age INT, job VARCHAR(9), y INT)",
        f"INSERT INTO `{work.database}`.person VALUES {values}",
    )
    work.write_project()
    project = folder / "whimbrel.toml"
    project.write_text(project.read_text() + RENEWAL.format(target=work.target))
    return work


@pytest.fixture
def project(people: Work, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHIMBREL_SOURCE_PASSWORD", people.source.password)
    monkeypatch.setenv("WHIMBREL_PROJECT", str(people.folder / "whimbrel.toml"))
    return people.folder / "whimbrel.toml"


def test_a_plain_script_migrates_verifies_and_renews(project: Path) -> None:
    pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")
    pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "plain_script.py", project], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Start fixed at" in done.stdout
    assert done.stdout.endswith("people renewed\n")
    missing: list[str | Path] = [sys.executable, EXAMPLES / "plain_script.py", project.with_name("nowhere.toml")]
    refused = subprocess.run(missing, capture_output=True, text=True)
    assert (refused.returncode, "there is no project file" in refused.stderr) == (2, True)


class Failed(Exception):
    """AirflowFailException, and Dagster's Failure."""

    def __init__(self, message: str, *, allow_retries: bool = True) -> None:
        super().__init__(message)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What its decorators were given, by the name of what they decorate; a task runs as soon as its DAG is made."""
    given: dict[str, Any] = {}

    def decorator(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            given[function.__name__] = settings
            return function

        return decorate

    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", module("airflow.sdk", dag=decorator, task=decorator))
    monkeypatch.setitem(sys.modules, "airflow.exceptions", module("airflow.exceptions", AirflowFailException=Failed))
    return given


def test_airflow_migrates_and_renews(project: Path, airflow: dict[str, Any]) -> None:
    runpy.run_path(str(EXAMPLES / "airflow_dag.py"))
    assert set(airflow) == {"whimbrel_migration", "whimbrel_renewal", "check", "migrate", "verify", "renew"}
    assert airflow["whimbrel_renewal"]["schedule"] == "0 3 * * *"
    assert airflow["whimbrel_renewal"]["max_active_runs"] == 1


@pytest.mark.slow
def test_airflow_itself_runs_both(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("airflow", reason="Airflow is not installed: pip install apache-airflow")
    (tmp_path / "dags").mkdir()
    shutil.copy(EXAMPLES / "airflow_dag.py", tmp_path / "dags")
    settings = {"_HOME": tmp_path, "__CORE__LOAD_EXAMPLES": "False", "__CORE__DAGS_FOLDER": tmp_path / "dags"}
    environment = os.environ | {f"AIRFLOW{name}": str(value) for name, value in settings.items()}
    for arguments in ("db migrate", "dags reserialize", "dags test whimbrel_migration", "dags test whimbrel_renewal"):
        command = [str(Path(sys.executable).with_name("airflow")), *arguments.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "dag_id=whimbrel_renewal" in done.stdout + done.stderr


def test_what_no_retry_can_put_right_fails_a_task(
    project: Path, airflow: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHIMBREL_PROJECT", "nowhere.toml")
    with pytest.raises(Failed, match="there is no project file"):
        runpy.run_path(str(EXAMPLES / "airflow_dag.py"))


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Any], str], bool]]:
    """Runs a job of the example's, by its name; whether it succeeded."""
    if importlib.util.find_spec("dagster"):
        yield lambda names, job: bool(names[job].execute_in_process().success)
        return

    def op(function: Callable[..., Any] | None = None, **_settings: Any) -> Any:
        if function is None:
            return op
        wants_context = "context" in function.__annotations__
        log = SimpleNamespace(log=SimpleNamespace(info=print))
        return lambda *given: function(log, *given) if wants_context else function(*given)

    made: dict[str, Any] = dict.fromkeys(
        ("Definitions", "RetryPolicy", "ScheduleDefinition"), lambda **settings: settings
    )
    made |= {"op": op, "job": lambda job: job, "Failure": Failed, "OpExecutionContext": object}
    stand_in = module("dagster", Backoff=SimpleNamespace(EXPONENTIAL=1), **made)
    monkeypatch.setitem(sys.modules, "dagster", stand_in)
    yield lambda names, job: names[job]() is None


@pytest.mark.parametrize("job", ["whimbrel_migration", pytest.param("whimbrel_renewal", marks=pytest.mark.slow)])
def test_dagster_migrates_and_renews(project: Path, dagster: Callable[[dict[str, Any], str], bool], job: str) -> None:
    assert dagster(runpy.run_path(str(EXAMPLES / "dagster_job.py")), job)


def module(name: str, **names: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(names)
    return made
