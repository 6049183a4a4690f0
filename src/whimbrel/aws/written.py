"""The template and the policies of a project, as files."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whimbrel.aws.policies import Document, documents, filled, policies
from whimbrel.aws.template import function_name, template
from whimbrel.durable import replace_file
from whimbrel.errors import ProjectError
from whimbrel.project import Project


@dataclass(frozen=True, slots=True)
class AwsTemplate:
    """The names of the files that were written; ``policies`` are those of ``template``, each as a document for IAM."""

    template: str
    policies: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_template(project: Project, folder: Path, account: str, region: str) -> AwsTemplate:
    """Files of the same names are replaced. Raises ProjectError as ``template`` does, and for an account or a region
    that cannot be one.
    """
    made = template(project)
    assert project.stream is not None, "there is no template without it"
    variables = {
        **_place(account, region or project.target.region),
        "StreamName": project.stream.name,
        "FunctionName": function_name(project.stream.name),
        "MarkTable": project.target.mark,
    }
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, statements in policies(project).items():
        for number, document in enumerate(documents(name, statements), 1):
            file = folder / f"policy-{name}{f'-{number}' if number > 1 else ''}.json"
            names.append(_write(file, filled(document, variables)))
    return AwsTemplate(_write(folder / "template.json", made), tuple(names))


def _place(account: str, region: str) -> dict[str, str]:
    from botocore.session import Session

    if not re.fullmatch(r"[0-9]{12}", account):
        raise ProjectError(
            f"{account!r} is not the number of an AWS account",
            place="--account",
            hint="`aws sts get-caller-identity` prints it.",
        )
    if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", region):
        hint = "Set region in [target], or pass --region."
        raise ProjectError(f"{region!r} is not a region of AWS", place="--region", hint=hint)
    partition = Session().get_partition_for_region(region)
    return {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account}


def _write(file: Path, document: Document) -> str:
    replace_file(file, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    return str(file)
