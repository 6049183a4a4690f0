"""``whimbrel renew`` and ``whimbrel schedule``: what they say, and what they refuse before anything is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lake.helper import write_export
from whimbrel.checkpoint import RunLock
from whimbrel.cli import renew as renewing
from whimbrel.cli.main import main
from whimbrel.lake.table import make_dataset
from whimbrel.prediction.renew import project as renewals
from whimbrel.prediction.renew.project import Renewal
from whimbrel.project import load_project

pytest.importorskip("apscheduler", reason="the extra 'predict' is not installed")
pytest.importorskip("sklearn", reason="the extra 'predict' is not installed")

MODEL = '[[model]]\nname = "bank"\ntarget = "y"\n'
RENEWAL = '[[renewal]]\nmodel = "bank"\n'


@pytest.mark.parametrize("command", ["renew", "schedule"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL, "there is no [[renewal]]"),
        (RENEWAL, "there is no [[model]] called 'bank'"),
        (MODEL + RENEWAL + RENEWAL, "the model 'bank' is used in more than one [[renewal]]"),
        (MODEL + RENEWAL + 'metrics = ["speed"]', "'speed', which is not one of log_loss"),
    ],
)
def test_a_project_that_cannot_be_renewed_is_refused_at_once(
    command: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "whimbrel.toml").write_text(text)
    done = CliRunner().invoke(main, [command, "-p", str(tmp_path / "whimbrel.toml")])
    assert done.exit_code == 2
    assert message in done.output


def test_a_cron_expression_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(MODEL + RENEWAL + 'cron = "0 3 * * 7"')
    done = CliRunner().invoke(main, ["schedule", "-p", str(tmp_path / "whimbrel.toml")])
    assert done.exit_code == 2
    assert "renewal bank: cron: '0 3 * * 7' is not a valid schedule: name the days of the week" in done.output


def test_a_plan_says_the_steps_that_are_left(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(MODEL + RENEWAL)
    run = tmp_path / ".whimbrel" / "renew" / "bank" / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text('{"run": "a", "began": "2026-01-31T03:00:00Z", "results": {"export": {}, "convert": {}}}')
    done = CliRunner().invoke(main, ["renew", "-p", str(tmp_path / "whimbrel.toml"), "--dry-run"])
    assert done.stdout == "bank behind bank: would train, gate, update\n"
    assert run.exists()


def test_a_renewal_of_a_model_that_is_being_renewed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(MODEL + RENEWAL)
    with RunLock(tmp_path / ".whimbrel" / "renew" / "bank"):
        done = CliRunner().invoke(main, ["renew", "-p", str(tmp_path / "whimbrel.toml"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]) == (3, "Locked")


def test_the_scheduler_says_when_it_is_next_and_ends_at_a_signal(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text(MODEL + RENEWAL + 'cron = "0 3 1 1 *"')
    command = [sys.executable, "-m", "whimbrel", "schedule", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        said = json.loads(running.stdout.readline())
        assert said["next"].endswith("-01-01T03:00:00+00:00")
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert (tmp_path / ".whimbrel" / "renew" / "schedule.log").exists()


def test_what_is_not_in_the_data_set_is_said_by_every_renewal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the conversion of this run had nothing to do."""
    file = tmp_path / "whimbrel.toml"
    file.write_text('[[dataset]]\ntable = "bank"\nkey = ["pk"]\n[dataset.columns]\npk = "string"\nn = "int64"\n')
    items = [{"Item": {"pk": {"S": key}, "n": {"N": n}}} for key, n in (("a", "1"), ("b", "1.5"))]
    write_export(tmp_path / "lake" / "exports" / "bank", "01768385000000-00000000", "2026-01-14T12:00:00.000Z", items)
    for changed in (True, False):
        converted = renewals.converted(make_dataset(load_project(file), "bank", threading.Event()))
        assert (converted["changed"], converted["refused"], converted["rows"]) == (changed, 1, 1)
        results = {"convert": converted, "gate": {"reason": "better"}, "train": {"version": "1"}}
        renewing.say(Renewal("bank", "bank", "kept", {"outcome": "kept", "results": results}), as_json=False)
        assert "1 items are not in the data set" in (told := capsys.readouterr().out)
        assert "1.5 does not fit int64" in told
