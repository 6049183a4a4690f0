"""The policies of the steps on SageMaker against the calls that each makes: none is missing, none is for nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from botocore.client import BaseClient

from tests.aws.calls import S3_ACTIONS
from tests.prediction.aws.conftest import AT_ONCE, Project
from tests.prediction.aws.test_renew import ALGORITHM, pin, row_of
from tests.prediction.serve.conftest import wait_for
from whimbrel.aws.policies import documents, filled, policies
from whimbrel.aws.predicting import images
from whimbrel.project import load_project
from whimbrel.project.renew import STEPS

ROLE = "arn:aws:iam::111122223333:role/sagemaker"
# What AWS does itself in the name of whoever asks, and what only a failure asks for.
UNSEEN = {
    "s3:AbortMultipartUpload",
    *("cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"),
    "iam:CreateServiceLinkedRole",
}


class Right(NamedTuple):
    action: str
    resource: str  # an ARN, or a pattern of them
    prefix: str = ""  # of a list of objects


def granted(project: Project, *accounts: str) -> set[Right]:
    found = load_project(project.folder / "whimbrel.toml")
    variables = {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": "111122223333",
        "LakeBucket": project.bucket.name,
        "SageMakerRole.Arn": ROLE,
        "RenewName": "renew",
    }
    made = set()
    for account in accounts:
        for document in documents(account, policies(found)[account]):
            for statement in filled(document, variables)["Statement"]:
                prefixes = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", [""])
                for resource in statement["Resource"]:
                    made |= {Right(action, resource, prefix) for action in statement["Action"] for prefix in prefixes}
    return made


def covers(right: Right, call: Right) -> bool:
    return right.action == call.action and all(
        fnmatch.fnmatchcase(asked, allowed) for asked, allowed in zip(call[1:], right[1:], strict=True)
    )


@contextmanager
def noted(found: set[Right]) -> Iterator[None]:
    asked = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: Any, operation: str, request: dict[str, Any]) -> Any:
        found.update(rights_of(client.meta.service_model.service_name, operation, request))
        return asked(client, operation, request)

    with patch.object(BaseClient, "_make_api_call", note):
        yield


def rights_of(service: str, operation: str, request: dict[str, Any]) -> Iterator[Right]:
    """What IAM asks for a call: also what AWS's guides say beside the operation's own action."""
    if service == "s3":
        action, bucket = f"s3:{S3_ACTIONS.get(operation, operation)}", f"arn:aws:s3:::{request['Bucket']}"
        key, prefix = request.get("Key", ""), request.get("Prefix", "")
        yield Right(action, f"{bucket}/{key}" if key else bucket, prefix)
        return
    if service == "logs":
        yield Right(f"logs:{operation}", _arn("logs", f"log-group:{request['logGroupName']}:log-stream:x"))
        return
    if service == "application-autoscaling":
        yield Right(f"{service}:{operation}", _arn(service, "scalable-target/1234"))
        return
    named = list(_named(operation, request))
    for each in named or ["*"]:
        resource = _arn("sagemaker", each.lower()) if named else "*"
        yield Right(f"sagemaker:{operation}", resource)
        if "Tags" in request:
            yield Right("sagemaker:AddTags", resource)
    if role := request.get("RoleArn") or request.get("ExecutionRoleArn"):
        yield Right("iam:PassRole", role)


def _named(operation: str, request: dict[str, Any]) -> Iterator[str]:
    if operation.startswith("List"):
        return
    for key, kind in (
        ("TrainingJobName", "training-job"),
        ("EndpointName", "endpoint"),
        ("EndpointConfigName", "endpoint-config"),
        ("ModelName", "model"),
    ):
        if key in request and (operation != "InvokeEndpoint" or kind == "endpoint"):
            yield f"{kind}/{request[key]}"


def _arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:us-east-1:111122223333:{name}"


def compare(account: str, rights: Iterable[Right], made: Iterable[Right], unseen: Iterable[str] = ()) -> None:
    rights, made = set(rights), set(made)
    assert {call for call in made if not any(covers(right, call) for right in rights)} == set(), account
    # SageMaker writes names in small letters, or not: one of both is used.
    used = {(right.action, right.resource.lower()) for right in rights if any(covers(right, each) for each in made)}
    left = {right for right in rights if (right.action, right.resource.lower()) not in used}
    assert {right for right in left if right.action not in UNSEEN | set(unseen)} == set(), account


def test_every_call_of_each_step_is_allowed_and_every_right_is_used(
    project: Project, model_at: Callable[..., Path]
) -> None:
    hosting = AT_ONCE + "capture_percent = 100\nmax_instances = 3\n"
    project.write(model=ALGORITHM, hosting=hosting)
    with (project.folder / "whimbrel.toml").open("a") as file:
        file.write("tolerance = 1.0\n")  # the second model is taken too, also where it is a little worse
    project.put(0, 400)
    pin(project)
    made: dict[str, set[Right]] = {each: set() for each in (*STEPS, "more", "jobs")}
    for first in (0, 400):
        project.put(first, first + 400)
        for step in STEPS:
            with noted(made[step]):
                project.run("renew", "--model", project.name, "--step", step, "--execution", f"arn:{first}")
    with noted(made["more"]):  # what else there is to do with an endpoint
        assert project.call("predict", "--endpoint", project.endpoint, row_of(project)).exit_code == 0
        project.run("endpoint", "weights", project.endpoint, "AllTraffic=2")
    wait_for(lambda: project.bucket.names(f"captured/{project.endpoint}/"))
    with noted(made["more"]):
        project.run("drift")
        project.client.delete_endpoint(EndpointName=project.endpoint)
        project.sagemaker.change(fail_endpoints="no")
        project.run("endpoint", "update", project.endpoint, "--model", str(model_at("v1")), code=3)
    with noted(made["jobs"]):
        project.sagemaker.change(job_seconds=60.0)
        # Another job than before:
        project.write(model=ALGORITHM + 'hyperparameters = { l1 = "0.001" }\n', hosting=hosting)
        training = project.beside("train")
        wait_for(lambda: "InProgress" in project.listed().values(), 120)
        project.run("renew", "--abort")
        training.end()
    renewal = granted(project, "renewal")
    # A new machine lists the data set's objects; what this one has it does not fetch again.
    gate, train, serve = (granted(project, each) | renewal for each in ("gate", "train", "serve"))
    compare("gate", gate, made["gate"], {"s3:PutObject", "s3:GetObject", "s3:ListBucket"})
    seen = made["train"] | {each for each in made["jobs"] if each.action.startswith("sagemaker:StopTraining")}
    compare("train", train, seen, {"s3:GetObject", "s3:PutObject"})
    compare("serve", serve, made["update"] | made["more"], {"s3:GetObject", "s3:ListBucket"})


def test_an_image_is_pulled_from_its_own_repository(project: Project) -> None:
    found = load_project(project.folder / "whimbrel.toml")
    assert images(found) == ["arn:${AWS::Partition}:ecr:us-east-1:111122223333:repository/whimbrel"]
    project.write(model=ALGORITHM)
    found = load_project(project.folder / "whimbrel.toml")
    assert images(found)[1:] == ["arn:${AWS::Partition}:ecr:${AWS::Region}:*:repository/linear-learner"]
