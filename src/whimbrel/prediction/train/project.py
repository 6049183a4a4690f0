"""A project's models, each trained from its data set as it stands, or from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.need import need
from whimbrel.lake.opened import open_lake
from whimbrel.prediction.model.kept import models_folder
from whimbrel.prediction.model.model import Model
from whimbrel.project import Project, models_named
from whimbrel.project.predict import ModelRule


class Data(NamedTuple):
    """An Arrow table, which data set or file it is, and as of when. ``position``: what a migration had applied up to
    there is in it; "" where that is not known.
    """

    table: Any
    manifest: str
    as_of: str
    position: str = ""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """``metrics`` are of rows that the model was not fitted on. ``warnings`` and ``left_out`` are about inputs."""

    model: str
    version: str
    file: str
    report: str
    digest: str
    kind: str  # binary | multiclass | regression
    learner: str  # linear | boosted
    metrics: dict[str, Any]
    warnings: tuple[dict[str, Any], ...]
    left_out: dict[str, str]
    rows_fitted: int
    rows_judged: int
    judged_by: str

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("model", "version", "file", "digest", "kind", "metrics")}
        return values | {"warnings": list(self.warnings), "left_out": self.left_out}


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """``rows`` counts those to ``fit`` and those ``held_out``; ``inputs`` has the type of each, ``left_out`` says why a
    column is not an input.
    """

    model: str
    learner: str
    target: str
    split: str
    manifest: str
    as_of: str
    rows: dict[str, int]
    inputs: dict[str, str]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        return {name: values[name] for name in ("model", "manifest", "as_of", "rows", "inputs", "left_out")}


def plan_models(project: Project, name: str, file: Path | None) -> Iterator[TrainPlan]:
    """What training would do."""
    for rule, data in data_of(project, name, file):
        yield _planned(rule, data)


def read_dataset(project: Project, rule: ModelRule, identity: str = "", used: Collection[str] | None = None) -> Data:
    """The data set: the current one unless ``identity`` names another.

    Of columns that are not ``used`` (without it: those that the rule excludes) nothing is read: they have only NULLs.
    A field of a map is ``map.field``.
    """
    import pyarrow as pa

    with open_lake(project) as lake:
        lake.look(rule.dataset)
        manifest = datasets.at(lake.folder, rule.dataset, identity=identity)
        lake.have(manifest)
        wanted = set(manifest.columns).difference(rule.exclude) if used is None else {*used}
        wanted = {*wanted, rule.target, rule.time}
        whole = [
            name for name in manifest.columns if any(each == name or each.startswith(f"{name}.") for each in wanted)
        ]
        table = datasets.arrow(lake.folder, manifest, whole)
        for name in manifest.columns:
            if name not in whole:
                table = table.append_column(name, pa.nulls(table.num_rows))
        return Data(table, manifest.id, manifest.as_of, str(manifest.applied or ""))


def trained(project: Project, rule: ModelRule, data: Data) -> TrainedModel:
    """Train in this process. Raises TrainingError."""
    from whimbrel.prediction.train.train import model_path, train

    folder = models_folder(project, rule.name)
    model: Model = train(
        rule, data.table, manifest_id=data.manifest, as_of=data.as_of, position=data.position, folder=folder
    )
    return described(model, model_path(folder, model.version))


def described(model: Model, path: Path) -> TrainedModel:
    """What there is to say of a model whose file is at ``path``."""
    from whimbrel.prediction.train.train import REPORT_FILE

    return TrainedModel(
        model=model.name,
        version=model.version,
        file=str(path),
        report=str(path.with_name(REPORT_FILE)),
        digest=model.digest,
        kind=model.kind,
        learner=model.learner,
        metrics=model.metrics.as_dict(),
        warnings=tuple(model.facts["warnings"]),
        left_out=model.facts["left_out"],
        rows_fitted=model.facts["rows"]["fitted"],
        rows_judged=model.metrics.rows,
        judged_by=model.facts["judged_by"],
    )


def data_of(project: Project, name: str, file: Path | None) -> Iterator[tuple[ModelRule, Data]]:
    """The model called ``name``, or every model of the project, with its rows. Raises ProjectError, UserError."""
    rules = models_named(project, name)
    if file and len(rules) > 1:
        raise UserError("a file is data for one model", place=str(file), hint="Name the model with --model.")
    need("sklearn", "predict")
    for rule in rules:
        yield rule, _read_file(file, rule) if file else read_dataset(project, rule)


def _read_file(path: Path, rule: ModelRule) -> Data:
    """A Parquet or CSV file with a header (``,`` or ``;``), named by its SHA-256. Raises UserError."""
    from whimbrel.prediction.train.tables import read_table

    table = read_table([path], categories=rule.categories)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    moment = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Data(table, f"{path.name} sha256:{digest}", moment)


def _planned(rule: ModelRule, data: Data) -> TrainPlan:
    from whimbrel.prediction.train.holdout import labelled_rows, split
    from whimbrel.prediction.train.usable import flat_table, usable

    table = flat_table(data.table, (rule.target, rule.time, *rule.exclude))
    inputs, left_out, _ = usable(rule, table, labelled_rows(rule, table))
    parts = split(rule, table)
    return TrainPlan(
        model=rule.name,
        learner=rule.learner,
        target=rule.target,
        split=rule.split,
        manifest=data.manifest,
        as_of=data.as_of,
        rows={"fit": len(parts.fit), "held_out": len(parts.held)},
        inputs=inputs,
        left_out=left_out,
    )
