"""The calls that an endpoint on SageMaker has captured, which are in the bucket."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

from whimbrel.durable import replace_file
from whimbrel.prediction.aws.client import client_of
from whimbrel.prediction.aws.endpoint import described
from whimbrel.prediction.aws.places import CAPTURED, bucket
from whimbrel.project import Project
from whimbrel.project.endpoint import EndpointRule


def captured(project: Project, rule: EndpointRule, folder: Path) -> datetime:
    """Copy the calls that the endpoint's variant has answered into ``folder``; since when its present model answers.

    A shadow has captured the same calls, with its own answers.
    """
    there = bucket(project)
    for object_, size in there.list(f"{CAPTURED}/{rule.name}/{rule.variant}/"):
        path = folder / object_.removeprefix(f"{CAPTURED}/")
        if not path.exists() or path.stat().st_size != size:
            path.parent.mkdir(parents=True, exist_ok=True)
            with there.open(object_) as file:
                replace_file(path, file.read())
    with closing(client_of(project)) as client:
        return described(client, rule.name).modified
