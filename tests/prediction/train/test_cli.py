"""``whimbrel train``: from a data set of the lake or a file, to a model file and a report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from tests.prediction.train.tables import calls
from whimbrel.cli.main import main
from whimbrel.errors import ProjectError
from whimbrel.lake import datasets
from whimbrel.prediction.model.model import load_model
from whimbrel.project import load_project

PROJECT = """
[[model]]
name = "calls"
target = "y"
exclude = ["contact"]
threshold = { criterion = "f_beta", beta = 2.0 }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "whimbrel.toml"
    path.write_text(PROJECT)
    pa.parquet.write_table(calls(400), tmp_path / "calls.parquet")
    pa.csv.write_csv(calls(400), tmp_path / "calls.csv")
    return path


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", "-p", str(project), *arguments])


@pytest.mark.parametrize("name", ["calls.parquet", "calls.csv"])
def test_train_from_a_file(name: str, project: Path, tmp_path: Path) -> None:
    done = run(project, "--data", str(tmp_path / name), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    path = Path(said["file"])
    assert path.parent == tmp_path / ".whimbrel" / "models" / "calls" / said["version"]
    model = load_model(path)
    assert model.digest == said["digest"]
    assert model.manifest.startswith(f"{name} sha256:")
    assert [each.name for each in model.inputs] == ["age", "rate", "job"]
    assert model.facts["settings"]["threshold"]["beta"] == 2.0
    assert path.with_name("report.html").exists()


def test_train_from_the_current_data_set(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Current:
        id, as_of = "20261101T000000-abc", "2026-11-01T00:00:00Z"

    asked = []
    monkeypatch.setattr(datasets, "current", lambda folder, name: asked.append((folder, name)) or Current)  # type: ignore[func-returns-value]
    monkeypatch.setattr(datasets, "arrow", lambda folder, manifest: calls(400))
    done = run(project)
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path / "lake", "calls")]
    assert "hold-out of 80 rows: auc 0." in done.output
    [folder] = (tmp_path / ".whimbrel" / "models" / "calls").iterdir()
    assert load_model(folder / "model.json").manifest == Current.id


def test_a_dry_run_says_what_and_writes_nothing(project: Path, tmp_path: Path) -> None:
    done = run(project, "--dry-run", "--data", str(tmp_path / "calls.csv"))
    assert done.exit_code == 0
    assert "would fit 320 rows and hold out 80 (stratified)" in done.output
    assert "age (number), rate (number), job (category)" in done.output
    assert not (tmp_path / ".whimbrel").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "other"], "no [[model]] called 'other'"),
        ([], "there is no such data set yet"),
        (["--data", "{project}"], "cannot be read"),
    ],
)
def test_what_is_not_there_is_said(arguments: list[str], message: str, project: Path) -> None:
    done = run(project, *(each.replace("{project}", str(project.parent / "bad.parquet")) for each in arguments))
    if "{project}" in arguments:
        (project.parent / "bad.parquet").write_bytes(b"PAR1\nnothing")
        done = run(project, "--data", str(project.parent / "bad.parquet"))
    assert done.exit_code == 2
    assert message in done.output


def test_faults_of_a_model_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "whimbrel.toml"
    path.write_text(
        '[[model]]\nname = "m"\nlearner = "deep"\nholdout = 1.5\nrefit = "yes"\ntypes = { a = "text" }\n'
        'time = "t"\nsplit = "stratified"\ntreshold = 1\nthreshold = { criterion = "luck", recall = 2 }\n'
    )
    with pytest.raises(ProjectError) as caught:
        load_project(path)
    for wanted in (
        "target: is missing",
        "learner: must be 'linear' or 'boosted'",
        "holdout: must be a share below 1",
        "refit: must be true or false",
        "types.a: must be 'number' or 'category'",
        "split: must be 'time'",
        "treshold: unknown key; did you mean 'threshold'?",
        "threshold.criterion: must be",
        "threshold.recall: must be between 0 and 1",
    ):
        assert wanted in str(caught.value)
