"""``docker run IMAGE train``: SageMaker's contract for training, over the folder that is /opt/ml there.

========================================  ====================================================================
input/config/hyperparameters.json         strings: the keys of a ``[[model]]``, or those of linear-learner
input/config/inputdataconfig.json         channels: ``train``, and ``validation``, whose figures are logged
input/config/resourceconfig.json          one host
input/data/<channel>/                     CSV, the label first and without a header, or Parquet
model/model.json, output/data/            what is made: the model file alone, and report.html
output/failure                            why there is none
========================================  ====================================================================

CSV that ``whimbrel convert --csv`` wrote has its columns' names with it. Other CSV has none: there the label is f0, and
the inputs are f1, f2 and so on.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file
from whimbrel.errors import TrainingError, UserError
from whimbrel.lake.csvfile import COLUMNS
from whimbrel.prediction.model.kept import MODEL_FILE
from whimbrel.prediction.train.tables import read_table
from whimbrel.project.predict import ModelRule, read_model
from whimbrel.project.section import Section

_HEAD = 64 << 10  # bytes that have the first two lines
FEW_CLASSES = 20  # of a column that is taken for a label
LABEL = "f0"  # what Arrow calls the first of columns without names
_KINDS = {"binary_classifier": "binary", "multiclass_classifier": "multiclass", "regressor": "regression"}
_WEIGHTS = {"1.0": "none", "1": "none", "balanced": "balanced"}
_THRESHOLD = {
    "binary_classifier_model_selection_criteria": "criterion",
    "target_recall": "recall",
    "target_precision": "precision",
    "f_beta": "beta",
}
# What linear-learner has for its own optimiser: it changes nothing here.
_WITHOUT_MEANING = (
    "num_models epochs mini_batch_size loss optimizer learning_rate wd l1 momentum beta_1 beta_2"
    " bias_lr_mult bias_wd_mult early_stopping_patience early_stopping_tolerance normalize_data normalize_label"
    " unbias_data unbias_label num_calibration_samples num_point_for_scaler use_bias init_method init_scale init_sigma"
    " init_bias use_lr_scheduler lr_scheduler_step lr_scheduler_factor lr_scheduler_minimum_lr margin quantile"
    " huber_delta loss_insensitivity num_classes"
)
_NOT_TEXT = ("exclude", "types", "threshold", "holdout", "seed", "refit", *_THRESHOLD)
_log = logging.getLogger("whimbrel.train")


def run_job(folder: Path) -> int:
    """Train; what goes wrong is written where SageMaker looks for it. The exit code."""
    try:
        _train(folder)
    except Exception as error:
        _log.error("%s", error, exc_info=not isinstance(error, UserError))
        failure = folder / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        return 1
    return 0


def _train(folder: Path) -> None:
    hosts = _config(folder, "resourceconfig").get("hosts", [])
    if len(hosts) > 1:
        raise UserError(f"there are {len(hosts)} hosts, but training runs on one", hint="Say InstanceCount=1.")
    channels = _config(folder, "inputdataconfig")
    columns = _columns(folder / "input" / "data" / "train")
    names = None if columns["header"] else columns["columns"]
    hyperparameters = _config(folder, "hyperparameters")
    rule = rule_from(hyperparameters, (columns["columns"] or [LABEL])[0])
    table, newest = _channel(folder, channels, "train", names, rule)
    as_of = columns["as_of"] or newest
    _check_width(hyperparameters, table)
    from whimbrel.prediction.train.train import REPORT_FILE, evaluate, model_path, train  # slow to import

    with tempfile.TemporaryDirectory() as made:
        model = _fit(
            rule, table, train, manifest_id=columns["id"], as_of=as_of, position=columns["position"], folder=Path(made)
        )
        path = model_path(Path(made), model.version)
        _log_figures("holdout" if model.facts["judged_by"] == "hold-out" else "folds", model.metrics.values)
        for warning in model.facts["warnings"]:
            _log.warning("%s %s", warning["input"], warning["message"])
        for name, reason in model.facts["left_out"].items():
            _log.warning("left out: %s %s", name, reason)
        if "validation" in channels:
            _log_figures("validation", evaluate(model, _channel(folder, channels, "validation", names, rule)[0]).values)
        for source, target in (
            (path.with_name(REPORT_FILE), folder / "output" / "data" / REPORT_FILE),
            (path, folder / "model" / MODEL_FILE),  # last: a model that is there is whole, and has its report
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, source.read_bytes())


def _fit(rule: ModelRule, table: Any, train: Any, **about: Any) -> Any:
    """``train``; where the label does not fit its kind and the last column would, the message says where it belongs."""
    try:
        return train(rule, table, **about)
    except TrainingError as error:
        last = table.column_names[-1]
        if rule.target != LABEL or last == LABEL or not _is_label(rule.kind, table, last):
            raise
        if _is_label(rule.kind, table, LABEL):
            raise
        raise TrainingError(
            f"{error.message}; the last column, {last!r}, looks like the label",
            place="channel train",
            hint="The label must be the first column.",
        ) from None


def _is_label(kind: str, table: Any, name: str) -> bool:
    """Whether the column has as many different values as an outcome of this kind."""
    count = len(table[name].unique())
    return count == 2 if kind == "binary" else kind == "multiclass" and 2 < count <= FEW_CLASSES


def _check_width(hyperparameters: dict[str, str], table: Any) -> None:
    """``feature_dim``, where it is given, is how many columns there are beside the label, as for linear-learner."""
    given, found = str(_value("feature_dim", hyperparameters.get("feature_dim", "auto"))), table.num_columns - 1
    if given not in ("auto", str(found)):
        raise UserError(
            f"feature_dim is {given}, but the channel train has {found} columns besides the label",
            place="hyperparameters",
            hint=f"Give {found}, auto, or nothing.",
        )


def _refuse_header(path: Path) -> None:
    """A first line of names alone above lines that have numbers is a header, which would become a row."""
    import pyarrow as pa

    with pa.input_stream(path) as file:
        head = file.read(_HEAD).decode("utf-8", "replace")
    delimiter = ";" if head.partition("\n")[0].count(";") > head.partition("\n")[0].count(",") else ","
    first, second = ([*csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [], []])[:2]
    names = bool(first) and len(set(first)) == len(first) and not any(not name or _is_number(name) for name in first)
    if names and len(second) == len(first) and any(map(_is_number, second)):
        raise UserError(
            f"its first line, {','.join(first)[:100]!r}, is a header",
            place=f"channel {path.parent.name}, {path.name}",
            hint="Leave it out: training data as CSV has no header, and the label first.",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def rule_from(texts: dict[str, str], label: str) -> ModelRule:
    """How to train, by hyperparameters as SageMaker hands them over. Raises UserError naming those that do not fit."""
    values: dict[str, Any] = {"name": "model", "target": label}
    threshold: dict[str, Any] = {}
    for key, text in texts.items():
        value = _value(key, text)
        if key == "feature_dim":
            continue  # checked against the data
        if key in _WITHOUT_MEANING.split():
            _log.info("hyperparameter %s has no meaning for this trainer", key)
        elif key == "predictor_type":
            values["kind"] = _KINDS.get(str(value), str(value))
        elif key == "positive_example_weight_mult":
            values["balance"] = _WEIGHTS.get(text, text)
        elif key in _THRESHOLD:
            threshold[_THRESHOLD[key]] = value
        else:
            values[key] = value
    faults: list[str] = []
    rule = read_model(Section(({"threshold": threshold} if threshold else {}) | values, "", faults))
    if faults:
        raise UserError("; ".join(faults), place="hyperparameters", hint="See [[model]] in docs/predict.md.")
    return rule


def _value(key: str, text: str) -> Any:
    """Every hyperparameter is a string; the SDK writes each as JSON, the CLI as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, str) or key in _NOT_TEXT else text


def _config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "input" / "config" / f"{name}.json"
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"not JSON: {error}", place=str(path), hint="SageMaker writes it.") from None
    return found


def _columns(place: Path) -> dict[str, Any]:
    """What whimbrel wrote beside the rows: ``columns``, ``header``, the data set's ``id``, time and position."""
    path = place / COLUMNS
    found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return {"columns": [], "header": False, "id": "the channel train", "as_of": "", "position": ""} | found


def _channel(
    folder: Path, channels: dict[str, Any], name: str, names: list[str] | None, rule: ModelRule
) -> tuple[Any, str]:
    """The channel's rows, and when its newest file was written."""
    about, place = channels.get(name, {}), folder / "input" / "data" / name
    if about.get("TrainingInputMode", "File") != "File":
        raise UserError("its input mode is Pipe", place=f"channel {name}", hint="Use TrainingInputMode=File.")
    kind = str(about.get("ContentType") or "text/csv").partition(";")[0]
    if kind not in ("text/csv", "application/x-parquet"):
        hint = "Give text/csv or application/x-parquet."
        raise UserError(f"its ContentType is {kind}", place=f"channel {name}", hint=hint)
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name[0] not in "_."]
    if not files:
        raise UserError("there is no file", place=str(place), hint="Put the training rows into a channel named train.")
    if names == []:
        for path in files:
            if not path.name.endswith(".parquet"):
                _refuse_header(path)
    table = read_table(files, names=names, categories=rule.categories)
    moment = max(path.stat().st_mtime for path in files)
    return table, datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _log_figures(of: str, figures: dict[str, float | None]) -> None:
    for name, value in figures.items():
        if value is not None:
            _log.info("#quality_metric: %s %s=%s", of, name, value)
