"""Renewal from end to end: a table in a DynamoDB-compatible server, `whimbrel renew`, `whimbrel serve` under load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")
pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")
pytest.importorskip("duckdb", reason="the extra 'lake' is not installed")

from demo import bank
from demo.servers import Ministack
from tests.prediction.serve.conftest import Running
from tests.prediction.serve.load import Load
from whimbrel.cli.main import main
from whimbrel.prediction.renew.renew import FolderRuns

PROJECT = """
[target]
endpoint = "{endpoint}"
region = "us-east-1"

[[dataset]]
table = "{table}"
name = "bank"

[[model]]
name = "bank"
target = "y"
exclude = ["customer_id"]
time = "called"

[[endpoint]]
name = "ServiceEndpoint"
model = "bank"
traffic = "ALL_AT_ONCE"
wait = 0
bake = 0
capture_percent = 100

[[renewal]]
model = "bank"
endpoint = "ServiceEndpoint"
{gate}
"""
ROWS = 3_600


class World:
    """A folder with a project, and the table that it is about."""

    def __init__(self, folder: Path, server: Ministack, table: str) -> None:
        self.folder, self.table = folder, table
        self._server = server
        self._calls = [row | {"called": number} for number, row in enumerate(bank.rows(ROWS, 3))]
        self.settings("")

    def settings(self, gate: str) -> None:
        text = PROJECT.format(endpoint=self._server.endpoint, table=self.table, gate=gate)
        (self.folder / "whimbrel.toml").write_text(text)

    def write(self, first: int, last: int, **instead: Callable[[bank.BankRow], Any]) -> None:
        """Calls ``first`` to ``last`` with their outcomes; ``instead`` makes an attribute another one."""
        rows = (row | {name: made(row) for name, made in instead.items()} for row in islice(self._calls, first, last))
        bank.put(rows, self._server.target(), self.table)

    def whimbrel(self, *words: str) -> tuple[int, Any]:
        """The command in this process: to import all that it needs takes longer than what it does."""
        done = CliRunner().invoke(main, [*words, "-p", str(self.folder / "whimbrel.toml"), "--json"])
        return done.exit_code, json.loads(done.stdout.splitlines()[-1])

    def renew(self) -> Any:
        code, line = self.whimbrel("renew")
        assert code == 0, line
        return line

    def renew_as_cron_does(self) -> Any:
        command = [sys.executable, "-m", "whimbrel", "renew", "--json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def row(self) -> str:
        left = ("customer_id", "y", "called")
        return ",".join(str(value) for name, value in self._calls[5].items() if name not in left)


@pytest.fixture
def world(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> World:
    return World(tmp_path, ministack, new_table_name("bank"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Running]]:
    started: list[Running] = []

    def begin() -> Running:
        started.append(Running([sys.executable, "-m", "whimbrel", "serve", "--json", "--port", "0"], tmp_path))
        return started[-1]

    yield begin
    for running in started:
        running.kill()


def test_a_model_is_made_renewed_under_load_and_a_worse_one_refused(
    world: World, serve: Callable[[], Running], tmp_path: Path
) -> None:
    world.write(0, 2_400)
    first = world.renew()
    assert first["outcome"] == "renewed", first["results"]["gate"]
    assert first["results"]["gate"]["reason"] == "there is no model to compare with"
    assert first["results"]["convert"]["rows"] == 2_400

    server = serve()
    with Load(server.port, world.row(), rate=50, connections=4) as load:
        world.write(2_400, ROWS)
        second = world.renew_as_cron_does()
        assert second["results"]["export"]["kind"] == "incremental"
        assert second["results"]["convert"]["rows"] == ROWS
        assert second["outcome"] == "renewed", second["results"]["gate"]
        figures = second["results"]["gate"]["figures"]
        assert figures["log_loss"]["new"] <= figures["log_loss"]["present"]

        third = world.renew()
        assert third["outcome"] == "kept"
        assert third["results"]["gate"]["reason"] == "no row has changed since the current model was trained"

        # What it learns from is false; what it is judged by is not.
        world.write(0, 2_880, y=lambda row: 1 - int(row["y"]))
        fourth = world.renew()
        assert fourth["outcome"] == "kept"
        assert "worse by log_loss" in fourth["results"]["gate"]["reason"]
    assert load.errors == []
    versions = list(dict.fromkeys(version for version, _ in load.answers))
    assert versions == [first["results"]["train"]["version"], second["results"]["train"]["version"]]
    assert server.stop() == 0  # captured calls are on disk
    code, moved = world.whimbrel("drift")
    assert (code, moved["version"], moved["refused"]) == (0, versions[1], 0)
    assert moved["rows"] == sum(version == versions[1] for version, _ in load.answers)
    assert moved["scores"] > 0.25  # it was always the same row
    lines = FolderRuns(tmp_path / ".whimbrel" / "renew" / "bank").record()
    assert [line["outcome"] for line in lines] == ["renewed", "renewed", "kept", "kept"]


def test_a_renewal_without_outcomes_fails_by_name_and_the_next_one_has_fresh_data(world: World) -> None:
    world.write(0, 300, y=lambda row: "")
    code, said = world.whimbrel("renew")
    assert code == 2
    assert said["error"] == "TrainingError"
    world.write(0, 300)
    code, said = world.whimbrel("renew", "--dry-run")
    assert said["steps"] == ["export", "convert", "train", "gate", "update"]
