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
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.sources import SourceFile
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.train.project import read_dataset
from whimbrel.project import load_project
from whimbrel.project.predict import ModelRule

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
        columns = tuple(calls(1).column_names)
        applied = None

    asked, read = [], []

    def rows(folder: Path, manifest: Current, columns: list[str]) -> pa.Table:
        read.extend(columns)
        return calls(400).select(columns)

    monkeypatch.setattr(datasets, "current", lambda folder, name: asked.append((folder, name)) or Current)  # type: ignore[func-returns-value]
    monkeypatch.setattr(datasets, "arrow", rows)
    done = run(project)
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path / "lake", "calls")]
    assert "hold-out of 80 rows: auc 0." in done.output
    [folder] = (tmp_path / ".whimbrel" / "models" / "calls").iterdir()
    model = load_model(folder / "model.json")
    assert model.manifest == Current.id
    assert set(read) == set(Current.columns) - {"contact"}  # which is excluded
    assert "contact" in model.ignored


@pytest.mark.parametrize(
    ("used", "there"), [(None, {"age", "place", "y"}), (["place.x", "pk"], {"place", "pk", "y"}), ([], {"y"})]
)
def test_of_a_data_set_only_the_columns_that_are_used_are_read(
    used: list[str] | None, there: set[str], project: Path, tmp_path: Path
) -> None:
    """A model that an earlier project file made may use what is excluded now."""
    lines = [
        f'{{"pk":{{"S":"{n}"}},"age":{{"N":"{n}"}},"place":{{"M":{{"x":{{"N":"{n}"}}}}}},"y":{{"S":"{n % 2}"}}}}\n'
        for n in range(40)
    ]
    (tmp_path / "items.json").write_text("".join(lines))
    from_files(tmp_path / "lake", ConvertRules("t", "calls", ("pk",)), [SourceFile(tmp_path / "items.json", "plain")])
    rule = ModelRule("calls", "calls", "y", exclude=("pk",))
    table = read_dataset(load_project(project), rule, used=used).table
    assert set(table.column_names) == {"pk", "age", "place", "y"}
    assert {name for name in table.column_names if not table[name].null_count} == there


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
