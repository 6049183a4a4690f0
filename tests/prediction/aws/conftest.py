"""SageMaker by its stand-in, S3 and DynamoDB by ministack, and a project that uses them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")
pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")
pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")

from demo import bank
from demo.servers import Ministack, SageMaker
from tests.conftest import unique
from tests.lake.machines import Bucketed
from tests.prediction.train.tables import calls
from whimbrel.cli.main import main
from whimbrel.prediction.aws import client, endpoint, training_job

PROJECT = """
[target]
endpoint = "{ministack}"
region = "us-east-1"

[lake]
folder = "s3://{bucket}/lake"
s3_endpoint = "{ministack}"
cache = "{cache}"

[sagemaker]
role = "arn:aws:iam::111122223333:role/sagemaker"
image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/whimbrel:1.0"
endpoint = "{sagemaker}"
tags = {{ team = "calls" }}
{sagemaker_more}

[[dataset]]
table = "{table}"
name = "{name}"

[[model]]
name = "{name}"
target = "y"
engine = "sagemaker"
{model}

[[endpoint]]
name = "{endpoint}"
model = "{name}"
engine = "sagemaker"
{hosting}

[[renewal]]
model = "{name}"
endpoint = "{endpoint}"
"""
AT_ONCE = 'traffic = "ALL_AT_ONCE"\nwait = 0\nbake = 0\n'


class Beside:
    """A command that runs meanwhile: ``end`` waits for it, ``kill`` does not ask it."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "whimbrel", *words, "--json"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self) -> tuple[int, Any]:
        """The exit code, and what it said last."""
        out, error = self.process.communicate(timeout=280)
        lines = out.decode().splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else error.decode()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        self.process.send_signal(how)
        self.process.communicate(timeout=60)
        return self.process.returncode


class Project:
    """A folder with a project. ``machine`` is another folder with the same project: another machine."""

    def __init__(self, folder: Path, ministack: Ministack, sagemaker: SageMaker) -> None:
        self.folder, self.ministack, self.sagemaker = folder, ministack, sagemaker
        self.bucket = Bucketed(ministack)
        self.names = {"name": unique("m"), "table": unique("bank"), "endpoint": unique("e")}
        self.write()

    def write(self, model: str = "", hosting: str = AT_ONCE, sagemaker_more: str = "") -> None:
        self._text = PROJECT.format(
            ministack=self.ministack.endpoint,
            sagemaker=self.sagemaker.endpoint,
            bucket=self.bucket.name,
            cache="cache",
            model=model,
            hosting=hosting,
            sagemaker_more=sagemaker_more,
            **self.names,
        )
        (self.folder / "whimbrel.toml").write_text(self._text)

    def machine(self, name: str) -> Project:
        other = Project.__new__(Project)
        other.__dict__.update(self.__dict__)
        other.folder = self.folder.parent / f"{self.folder.name}-{name}"
        other.folder.mkdir()
        (other.folder / "whimbrel.toml").write_text(self._text)
        return other

    @property
    def name(self) -> str:
        return self.names["name"]

    @property
    def endpoint(self) -> str:
        return self.names["endpoint"]

    @property
    def client(self) -> Any:
        from demo.servers.dynamo import local_client

        return local_client("sagemaker", self.sagemaker.endpoint, "us-east-1")

    def rows(self, count: int = 300) -> Path:
        """A CSV file of calls."""
        path = self.folder / f"rows-{count}.csv"
        pyarrow.csv.write_csv(calls(count), path)
        return path

    def put(self, first: int, last: int) -> None:
        """Calls ``first`` to ``last``, as items: what is missing has no attribute."""
        rows = (
            {name: value for name, value in row.items() if value is not None} | {"customer_id": str(number)}
            for number, row in enumerate(calls(3_000).to_pylist())
        )
        bank.put(islice(rows, first, last), self.ministack.target(), self.names["table"])

    def call(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words, "-p", str(self.folder / "whimbrel.toml")], catch_exceptions=False)

    def beside(self, *words: str) -> Beside:
        """The command in a process of its own."""
        return Beside(self.folder, *words)

    def run(self, *words: str, code: int = 0) -> Any:
        done = self.call(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def jobs(self) -> list[dict[str, Any]]:
        """What was asked for, of this project."""
        asked = self.sagemaker.calls("CreateTrainingJob")
        return [each for each in asked if each["TrainingJobName"].startswith(f"whimbrel-{self.name}-")]

    def listed(self) -> dict[str, str]:
        found = self.client.list_training_jobs(NameContains=f"whimbrel-{self.name}-")["TrainingJobSummaries"]
        return {each["TrainingJobName"]: each["TrainingJobStatus"] for each in found}


@pytest.fixture(scope="session")
def sagemaker(ministack: Ministack, server_folder: Path) -> Iterator[SageMaker]:
    with SageMaker(ministack.endpoint, server_folder / "sagemaker") as server:
        yield server


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is quick."""
    monkeypatch.setattr(training_job, "FIRST_LOOK", 0.1)
    monkeypatch.setattr(training_job, "LONGEST_LOOK", 0.3)
    monkeypatch.setattr(endpoint, "FIRST_LOOK", 0.05)
    monkeypatch.setattr(endpoint, "LONGEST_LOOK", 0.2)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.2)


@pytest.fixture
def project(tmp_path: Path, ministack: Ministack, sagemaker: SageMaker) -> Iterator[Project]:
    folder = tmp_path / "one"
    folder.mkdir()
    yield Project(folder, ministack, sagemaker)
    sagemaker.change(throttle={}, lost={}, refuse={}, unseen={}, lag=0.0)
    sagemaker.change(alarm="", fail_jobs="", fail_endpoints="", job_seconds=0)


@pytest.fixture
def model_at(tmp_path: Path) -> Callable[..., Path]:
    """A model file made by hand, whose answers ``intercept`` moves."""
    from tests.prediction.serve.models import model_file

    def made(version: str, intercept: float = 0.0) -> Path:
        folder = tmp_path / version
        folder.mkdir()
        return model_file(folder, version, intercept=intercept)

    return made
