"""Where a renewal is kept: in the state folder, or in the bucket where its model or its endpoint is on SageMaker."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whimbrel.bucket import bucket_of
from whimbrel.prediction.renew.renew import FolderRuns, Result, Runs
from whimbrel.prediction.renew.shared import SharedRuns, sole_renewal
from whimbrel.prediction.train.project import read_dataset
from whimbrel.project import Project
from whimbrel.project.predict import ModelRule
from whimbrel.project.renew import RenewalRule


def renewal_folder(project: Project, rule: RenewalRule) -> Path:
    return project.state / "renew" / rule.model


def is_shared(project: Project, rule: RenewalRule) -> bool:
    return rule in project.predict.renewals_there


def runs_of(project: Project, rule: RenewalRule, execution: str = "") -> Runs:
    if not is_shared(project, rule):
        return FolderRuns(renewal_folder(project, rule))
    assert project.lake.store, "the project file was refused without it"
    return SharedRuns(bucket_of(project.lake.store, project.target), rule.model, execution)


@contextmanager
def sole(project: Project, rule: RenewalRule, execution: str = "") -> Iterator[None]:
    """While no other machine renews the model. An ``execution`` keeps its lock from one step to the next one."""
    if not is_shared(project, rule):
        yield
        return
    assert project.lake.store, "the project file was refused without it"
    owner = execution or f"{socket.gethostname()}:{project.state.absolute()}"
    runs = SharedRuns(bucket_of(project.lake.store, project.target), rule.model)

    def goes_on() -> bool:
        return bool(execution) and runs.unfinished() is not None

    with sole_renewal(bucket_of(project.lake.store, project.target), rule.model, owner, goes_on):
        yield


def taken_in(project: Project, rule: RenewalRule, file: Path) -> Result:
    """Where other machines find the model that was trained: nothing where they need not."""
    if not is_shared(project, rule):
        return {}
    from whimbrel.prediction.aws.places import kept

    return {"artifact": kept(project, file)}


def model_file(project: Project, trained: Mapping[str, Any]) -> Path:
    """The model that the step ``train`` made, here or on another machine."""
    file = Path(trained["file"])
    if file.exists() or "artifact" not in trained:
        return file
    from whimbrel.prediction.aws.endpoint import fetched

    return fetched(project, trained["artifact"])


def rows_judged(project: Project, rule: ModelRule, dataset: str, used: Collection[str]) -> Any:
    """The rows from which the hold-out is taken again: those that the training had, in their order, with the values of
    the columns that are ``used``.
    """
    if rule.training is None:
        return read_dataset(project, rule, dataset, used).table
    from whimbrel.prediction.aws.train import base_of, rows_of

    return rows_of(project, base_of(project, rule, dataset))
