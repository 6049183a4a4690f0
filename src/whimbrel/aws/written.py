"""The template and the policies of a project, as files."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whimbrel.aws.converging import on_redshift
from whimbrel.aws.policies import Document, documents, filled, key_document, policies
from whimbrel.aws.renewal import RENEW_NAME
from whimbrel.aws.template import template
from whimbrel.aws.through import function_name
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


def write_template(project: Project, folder: Path, account: str, region: str, key: str = "") -> AwsTemplate:
    """Files of the same names are replaced. ``key`` is the ARN of a KMS key. Raises ProjectError as ``template`` does,
    and for an account, a region or a key that cannot be one.
    """
    if key and not re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+", key):
        hint = "`aws kms describe-key` prints it; an alias will not do in a policy."
        raise ProjectError(f"{key!r} is not the ARN of a KMS key", place="--key", hint=hint)
    made = template(project, key)
    stream, store = project.stream, project.store
    variables = {
        **_place(account, region or project.target.region),
        "StreamName": stream.name if stream else "",
        "FunctionName": function_name(stream.name) if stream else "",
        "MarkTable": project.target.mark,
        "BucketName": store.bucket if store else "",
        "LakeBucket": project.lake.store.bucket if project.lake.store else "",
        **_spark(project),
        "SageMakerRole.Arn": project.predict.sagemaker.role if project.predict.sagemaker else "",
        "RenewName": RENEW_NAME,
        **_warehouse(project),
    }
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, statements in policies(project).items():
        for number, document in enumerate(documents(name, statements), 1):
            file = folder / f"policy-{name}{f'-{number}' if number > 1 else ''}.json"
            names.append(_write(file, filled(document, variables)))
    if key:
        names.append(_write(folder / "policy-key.json", key_document(key)))
    return AwsTemplate(_write(folder / "template.json", made), tuple(names))


def _spark(project: Project) -> dict[str, str]:
    """As the project file has it: in the template it is what the stack makes."""
    spark = project.spark
    if not spark:
        return {}
    return {
        "SparkApplication": spark.application,
        "SparkRole.Arn": spark.role,
        "SparkJob": spark.job,
        "SparkCluster": spark.cluster,
    }


def _warehouse(project: Project) -> dict[str, str]:
    """A workgroup's id is in no project file: the policy is for all of the account."""
    found = on_redshift(project)
    if not (found and found.stage):
        return {}
    return {"StageBucket": found.stage.bucket, "WorkgroupId": "*", "RedshiftCluster": found.cluster}


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
