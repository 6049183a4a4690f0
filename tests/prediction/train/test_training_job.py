"""SageMaker's contract for training: the folders, the hyperparameters as texts, the word about a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.prediction.train.tables import calls
from whimbrel.errors import UserError
from whimbrel.prediction.model.artifact import model_file
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.sagemaker.training_job import rule_from, run_job

FIRST = ["y", "age", "rate", "job", "contact"]
POST = {"feature_dim": "4", "predictor_type": "binary_classifier"}  # the hyperparameters of the post


@pytest.fixture
def opt_ml(tmp_path: Path) -> Path:
    """A folder as SageMaker lays it out: 600 calls as CSV, label first, without a header."""
    channel(tmp_path, "train", calls(600))
    configure(tmp_path, POST, {"train": {"TrainingInputMode": "File", "ContentType": "text/csv"}})
    return tmp_path


def channel(folder: Path, name: str, table: pa.Table) -> Path:
    place = folder / "input" / "data" / name
    place.mkdir(parents=True)
    pa.csv.write_csv(table.select(FIRST), place / "part-00000.csv", pa.csv.WriteOptions(include_header=False))
    return place


def configure(folder: Path, hyperparameters: dict[str, str], channels: dict[str, Any]) -> None:
    config = folder / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))


def test_the_container_trains_what_it_serves(opt_ml: Path) -> None:
    channel(opt_ml, "validation", calls(200, seed=1))
    configure(opt_ml, POST, {"train": {"ContentType": "text/csv;label_size=1"}, "validation": {}})
    done = subprocess.run(
        [sys.executable, "-m", "whimbrel.prediction.sagemaker.container", "train"],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(opt_ml)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"#quality_metric: validation auc=0." in done.stderr
    assert not (opt_ml / "output" / "failure").exists()
    model = load_model(model_file(opt_ml / "model"))
    assert (model.kind, [each.name for each in model.inputs]) == ("binary", ["f1", "f2", "f3", "f4"])
    assert [prediction.name for prediction in model.predict([["70", "-2.5", "student", "true"]])] == ["yes"]
    assert (opt_ml / "output" / "data" / "report.html").exists()


def test_columns_that_convert_wrote_have_their_names(opt_ml: Path) -> None:
    about = {"columns": FIRST, "header": False, "id": "20261101T000000-abc"}
    (opt_ml / "input" / "data" / "train" / "_columns.json").write_text(json.dumps(about))
    configure(opt_ml, {"exclude": '["contact"]', "learner": '"linear"', "seed": "3"}, {"train": {}})
    assert run_job(opt_ml) == 0
    model = load_model(model_file(opt_ml / "model"))
    assert ([each.name for each in model.inputs], model.target) == (["age", "rate", "job"], "y")
    assert model.manifest == "20261101T000000-abc"


def test_parquet_is_a_channel_too(opt_ml: Path) -> None:
    (opt_ml / "input" / "data" / "train" / "part-00000.csv").unlink()
    pa.parquet.write_table(calls(300), opt_ml / "input" / "data" / "train" / "part.parquet")
    configure(opt_ml, {"target": "y"}, {"train": {"ContentType": "application/x-parquet"}})
    assert run_job(opt_ml) == 0
    assert load_model(model_file(opt_ml / "model")).target == "y"


def test_a_failure_is_written_where_sagemaker_looks_for_it(opt_ml: Path) -> None:
    path = opt_ml / "input" / "data" / "train" / "part-00000.csv"
    path.write_text(path.read_text().replace('"yes"', '"no"'))
    assert run_job(opt_ml) == 1
    assert "is not binary" in (opt_ml / "output" / "failure").read_text()
    assert not (opt_ml / "model").exists()


BAD: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "a pipe": (POST, {"train": {"TrainingInputMode": "Pipe"}}, "TrainingInputMode=File"),
    "a format": (POST, {"train": {"ContentType": "image/png"}}, "image/png"),
    "no data": (POST, {"train": {}, "validation": {}}, "there is no file"),
    "a misspelt setting": ({"lerner": "linear"}, {"train": {}}, "did you mean 'learner'"),
}


@pytest.mark.parametrize(("hyperparameters", "channels", "why"), BAD.values(), ids=BAD)
def test_what_cannot_be_done_is_named(
    opt_ml: Path, hyperparameters: dict[str, str], channels: dict[str, Any], why: str
) -> None:
    configure(opt_ml, hyperparameters, channels)
    assert run_job(opt_ml) == 1
    assert why in (opt_ml / "output" / "failure").read_text()
    assert not (opt_ml / "model").exists()


def test_several_hosts_are_refused(opt_ml: Path) -> None:
    (opt_ml / "input" / "config" / "resourceconfig.json").write_text(json.dumps({"hosts": ["algo-1", "algo-2"]}))
    assert run_job(opt_ml) == 1
    assert "InstanceCount=1" in (opt_ml / "output" / "failure").read_text()


def test_hyperparameters_of_linear_learner_are_understood() -> None:
    given = {"predictor_type": "binary_classifier", "positive_example_weight_mult": "balanced", "epochs": "15"}
    rule = rule_from(
        given | {"binary_classifier_model_selection_criteria": "precision_at_target_recall", "target_recall": "0.7"},
        "y",
    )
    assert (rule.kind, rule.balance, rule.target) == ("binary", "balanced", "y")
    assert (rule.threshold.criterion, rule.threshold.recall) == ("precision_at_target_recall", 0.7)
    assert rule_from({"threshold": '{"criterion": "cost", "false_negative": 5}'}, "y").threshold.false_negative == 5
    with pytest.raises(UserError, match="criterion: must be 'f1' or"):
        rule_from({"binary_classifier_model_selection_criteria": "loss_function"}, "y")


def failure(opt_ml: Path) -> str:
    assert run_job(opt_ml) == 1
    return (opt_ml / "output" / "failure").read_text()


def test_a_header_in_the_training_data_is_named(opt_ml: Path) -> None:
    [path] = (opt_ml / "input" / "data" / "train").iterdir()
    path.write_text(",".join(FIRST) + "\n" + path.read_text())
    assert "its first line, 'y,age,rate,job,contact', is a header" in failure(opt_ml)


def test_a_label_that_stands_last_is_named(opt_ml: Path) -> None:
    table = calls(600).select([*FIRST[2:], "age", "y"])
    [path] = (opt_ml / "input" / "data" / "train").iterdir()
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(include_header=False))
    assert "the last column, 'f4', looks like the label. The label must be the first column" in failure(opt_ml)


@pytest.mark.parametrize("given", ["20", '"3"'])
def test_a_wrong_feature_dim_is_refused(given: str, opt_ml: Path) -> None:
    configure(opt_ml, POST | {"feature_dim": given}, {"train": {}})
    assert f"feature_dim is {given.strip(chr(34))}, but the channel train has 4 columns" in failure(opt_ml)
