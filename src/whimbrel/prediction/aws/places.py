"""What a project's models have in the bucket of its lake. Each object is written once, and whole."""

from __future__ import annotations

import re
from pathlib import Path

from whimbrel.bucket import Bucket, bucket_of
from whimbrel.durable import replace_file
from whimbrel.errors import StateError, UserError
from whimbrel.prediction.model.artifact import packed
from whimbrel.prediction.model.kept import MODEL_FILE, models_folder
from whimbrel.prediction.model.model import Model, load_model, read_model
from whimbrel.project import Project

TRAINING, MODELS, CAPTURED, RENEWALS = "training", "models", "captured", "renewals"
ARTIFACT, REPORT = "model.tar.gz", "report.html"


def bucket(project: Project) -> Bucket:
    store = project.lake.store
    assert store, "the project file was refused without it"
    return bucket_of(store, project.target)


def kept(project: Project, file: Path) -> str:
    """The name of a model's artifact in the bucket, which is there when this returns. Raises StateError."""
    model = load_model(file)
    name = f"{MODELS}/{model.name}/{model.version}"
    there = bucket(project)
    report = file.with_name(REPORT)
    if report.exists():
        there.put_new(f"{name}/{REPORT}", report.read_bytes())
    artifact = packed(f"{MODEL_FILE}.gz" if file.suffix == ".gz" else MODEL_FILE, file.read_bytes())
    if not there.put_new(f"{name}/{ARTIFACT}", artifact):
        raise StateError(
            "another model has this name and version",
            place=there.url(f"{name}/{ARTIFACT}"),
            hint="Train it again: the version begins with the time.",
        )
    return f"{name}/{ARTIFACT}"


def entered(project: Project, name: str, data: bytes, report: bytes, place: str) -> tuple[Model, Path]:
    """The model file ``data`` among the project's own, with its report. Raises ModelDamaged."""
    model = read_model(data, place)
    path = models_folder(project, name) / model.version / MODEL_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path.with_name(REPORT), report)
    replace_file(path, data)  # last: a model that is there has its report
    return model, path


def url_of(project: Project, name: str) -> str:
    return bucket(project).url(name)


def name_of(project: Project, url: str, what: str) -> str:
    """The reverse of ``url_of``. Raises UserError for what is not the artifact of one of the project's models."""
    begin = bucket(project).url("")
    if not re.fullmatch(f"{re.escape(begin)}{MODELS}/[^/]+/[^/]+/{re.escape(ARTIFACT)}", url):
        raise UserError(
            f"its model is {url}, which is not one of this project's",
            place=what,
            hint="Deploy one with: whimbrel endpoint update NAME --model FILE",
        )
    return url.removeprefix(begin)
