"""An endpoint on SageMaker: made once, then updated, asked and watched, whoever else is at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers.dynamo import local_client
from tests.killed_at_a_write import killed_at
from tests.prediction.aws.conftest import AT_ONCE, Project
from tests.prediction.serve.conftest import wait_for
from tests.prediction.serve.models import ROW
from whimbrel.prediction.aws import endpoint
from whimbrel.prediction.aws.client import Client
from whimbrel.project import load_project

ModelAt = Callable[..., Path]
CANARY = 'traffic = "CANARY"\nwait = 1\nbake = 0\n'
# A program that ends itself by SIGKILL at the call to SageMaker whose number STEPS says: before it, or after it.
KILLED = killed_at(("Create", "Update", "Put", "Delete", "Stop", "Register"))


def update(project: Project, model: Path, code: int = 0, *more: str) -> Any:
    return project.run("endpoint", "update", project.endpoint, "--model", str(model), *more, code=code)


def killed(project: Project, steps: int, *words: str) -> bool:
    command = [sys.executable, "-c", KILLED, *words]
    done = subprocess.run(
        command, cwd=project.folder, env={**os.environ, "STEPS": str(steps)}, capture_output=True, timeout=280
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def described(project: Project) -> Any:
    return project.client.describe_endpoint(EndpointName=project.endpoint)


def score(project: Project) -> float:
    done = project.call("predict", "--endpoint", project.endpoint, ROW)
    assert done.exit_code == 0, done.output
    return float(done.stdout.partition('"score":')[2].partition(",")[0])


def test_it_is_created_and_then_updated_and_answers_as_the_file_does(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=CANARY + "capture_percent = 50\n")
    first, second = model_at("v1"), model_at("v2", intercept=2.0)
    done = update(project, first)
    assert (done["live"], done["version"]) == (True, "v1")
    before = score(project)
    done = update(project, second)
    assert (done["live"], done["version"]) == (True, "v2")
    assert score(project) > before
    asked = project.sagemaker.calls("UpdateEndpoint")[-1]
    assert asked["EndpointName"] == project.endpoint
    policy = asked["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    config = project.sagemaker.calls("CreateEndpointConfig")[-1]
    assert config["DataCaptureConfig"]["DestinationS3Uri"] == f"s3://{project.bucket.name}/lake/captured"
    [status] = project.run("endpoint", "status")["endpoints"]
    assert (status["status"], status["variants"][0]["version"]) == ("InService", "v2")
    with_file = project.call("predict", "--model", str(second), ROW).stdout
    assert with_file == project.call("predict", "--endpoint", project.endpoint, ROW).stdout


def test_an_answer_says_what_sagemaker_hands_on(project: Project, model_at: ModelAt) -> None:
    """Of the container's headers the custom attributes alone."""
    update(project, model_at("v1"))
    row = ROW.replace("retired", "a boss")
    done = project.call("predict", "--endpoint", project.endpoint, row)
    assert "job=a boss" in done.stderr
    with closing(local_client("sagemaker-runtime", project.sagemaker.endpoint, "us-east-1")) as runtime:
        answer = runtime.invoke_endpoint(
            EndpointName=project.endpoint, Body=row, ContentType="text/csv", CustomAttributes="trace=1"
        )
        answer["Body"].read()
    said = dict(each.split("=", 1) for each in answer["CustomAttributes"].split(";"))
    assert (said["x-whimbrel-model-version"], said["trace"]) == ("v1", "1")
    assert said["x-whimbrel-as-of"] == "2026-01-01T00:00:00Z"
    assert said["x-whimbrel-unknown-categories"] == "1,job=a%20boss"


def test_the_same_again_changes_nothing(project: Project, model_at: ModelAt) -> None:
    model = model_at("v1")
    update(project, model)
    made = len(project.sagemaker.calls("CreateEndpoint"))
    assert update(project, model)["live"] is True
    assert len(project.sagemaker.calls("CreateEndpoint")) == made
    assert project.endpoint not in [each["EndpointName"] for each in project.sagemaker.calls("UpdateEndpoint")]


def test_of_two_who_make_it_at_once_one_creates_it_and_one_updates_it(project: Project, model_at: ModelAt) -> None:
    """The list of endpoints lags behind, so both would create it. The first may find the second's model there."""
    project.sagemaker.change(lag=5.0)
    first, second = model_at("v1"), model_at("v2", intercept=2.0)
    both = [
        who.beside("endpoint", "update", project.endpoint, "--model", str(model))
        for who, model in ((project, first), (project.machine("other"), second))
    ]
    ended = [each.end() for each in both]
    found = described(project)
    assert found["EndpointStatus"] == "InService"
    assert (0, True) in [(code, said["live"]) for code, said in ended]
    for code, said in ended:
        assert (code, said["live"]) in ((0, True), (3, False))
        assert said["live"] or said["reason"] == f"it answers with {found['EndpointConfigName']}"
    asked = [each for each in project.sagemaker.calls("UpdateEndpoint") if each["EndpointName"] == project.endpoint]
    assert [each["EndpointConfigName"] for each in asked] == [found["EndpointConfigName"]]


def test_an_alarm_takes_the_update_back(project: Project, model_at: ModelAt) -> None:
    project.write(hosting='traffic = "CANARY"\nwait = 30\nalarms = ["calls-fail"]\n')
    update(project, model_at("v1"))
    before = score(project)
    model = model_at("v2", intercept=2.0)
    updating = project.beside("endpoint", "update", project.endpoint, "--model", str(model))
    wait_for(lambda: described(project)["EndpointStatus"] == "Updating", 120)
    running = project.machine("other").run("status")["running"]
    assert [(each["kind"], each["name"]) for each in running] == [("endpoint", project.endpoint)]
    project.sagemaker.change(alarm="calls-fail")
    code, done = updating.end()
    assert (code, done["live"]) == (3, False)
    assert "calls-fail" in done["reason"]
    assert score(project) == before
    config = project.sagemaker.calls("UpdateEndpoint")[-1]["DeploymentConfig"]
    assert config["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "calls-fail"}]}


def test_an_endpoint_that_never_came_up_is_removed_and_the_next_try_begins_from_nothing(
    project: Project, model_at: ModelAt
) -> None:
    project.sagemaker.change(fail_endpoints="The primary container did not pass the ping health check.")
    done = update(project, model_at("v1"), 3)
    assert (done["live"], "ping health check" in done["reason"]) == (False, True)
    assert project.run("endpoint", "status") == {"endpoints": []}
    project.sagemaker.change(fail_endpoints="")
    assert update(project, model_at("v2"))["live"] is True


def test_a_failed_endpoint_of_somebody_else_is_named(project: Project, model_at: ModelAt) -> None:
    update(project, model_at("v0"))
    config = described(project)["EndpointConfigName"]
    project.client.delete_endpoint(EndpointName=project.endpoint)
    project.sagemaker.change(fail_endpoints="no room")
    project.client.create_endpoint(EndpointName=project.endpoint, EndpointConfigName=config)
    wait_for(lambda: described(project)["EndpointStatus"] == "Failed")
    said = update(project, model_at("v1"), 2)
    assert "it is Failed and cannot be updated: no room" in said["message"]
    assert f"aws sagemaker delete-endpoint --endpoint-name {project.endpoint}" in said["hint"]


def test_one_that_failed_has_no_model_to_compare_with(project: Project, model_at: ModelAt) -> None:
    """It answers nobody: a renewal must not keep its model."""
    update(project, model_at("v0"))
    found = load_project(project.folder / "whimbrel.toml")
    assert endpoint.present_model(found, project.endpoint)
    config = described(project)["EndpointConfigName"]
    project.client.delete_endpoint(EndpointName=project.endpoint)
    project.sagemaker.change(fail_endpoints="no room")
    project.client.create_endpoint(EndpointName=project.endpoint, EndpointConfigName=config)
    wait_for(lambda: described(project)["EndpointStatus"] == "Failed")
    assert endpoint.present_model(found, project.endpoint) is None


def test_an_update_beside_another_waits_for_it(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=CANARY)
    update(project, model_at("v1"))
    first, second = model_at("v2", intercept=1.0), model_at("v3", intercept=2.0)
    other = project.machine("other").beside("endpoint", "update", project.endpoint, "--model", str(first))
    wait_for(lambda: described(project)["EndpointStatus"] == "Updating", 120)
    assert update(project, second)["live"] is True
    other.end()
    assert project.run("endpoint", "status")["endpoints"][0]["variants"][0]["version"] == "v3"


def test_one_that_is_being_deleted_is_waited_for_and_made(
    project: Project, model_at: ModelAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(project, model_at("v1"))
    looks: list[str] = []

    def deleting(client: Client, name: str) -> endpoint.HostedEndpoint:
        looks.append(name)
        if len(looks) == 2:
            project.client.delete_endpoint(EndpointName=name)
        now = described_by(client, name)
        return replace(now, status="Deleting") if len(looks) < 3 else now

    described_by = endpoint.described
    monkeypatch.setattr(endpoint, "described", deleting)
    assert update(project, model_at("v2"))["live"] is True
    made = [each for each in project.sagemaker.calls("CreateEndpoint") if each["EndpointName"] == project.endpoint]
    assert len(made) == 2


def test_one_that_is_deleted_by_somebody_meanwhile_is_named(project: Project, model_at: ModelAt) -> None:
    project.write(hosting='traffic = "CANARY"\nwait = 30\n')
    update(project, model_at("v1"))
    model = model_at("v2", intercept=2.0)
    updating = project.beside("endpoint", "update", project.endpoint, "--model", str(model))
    wait_for(lambda: described(project)["EndpointStatus"] == "Updating", 120)
    project.client.delete_endpoint(EndpointName=project.endpoint)
    code, said = updating.end()
    assert (code, said["message"], said["hint"]) == (2, "it was deleted meanwhile", "Run it again to make it.")
    assert update(project, model)["live"] is True


@pytest.mark.slow
def test_a_session_that_expires_during_an_update_is_named_and_the_update_goes_on(
    project: Project, model_at: ModelAt
) -> None:
    project.write(hosting=CANARY)
    update(project, model_at("v1"))
    model = model_at("v2", intercept=2.0)
    updating = project.beside("endpoint", "update", project.endpoint, "--model", str(model))
    wait_for(lambda: described(project)["EndpointStatus"] == "Updating", 120)
    project.sagemaker.change(refuse={"DescribeEndpoint": "ExpiredTokenException"})
    code, said = updating.end()
    assert (code, said["hint"]) == (3, "The AWS session has expired: sign in again, then run the same command.")
    project.sagemaker.change(refuse={})
    assert update(project, model)["live"] is True
    asked = [each for each in project.sagemaker.calls("UpdateEndpoint") if each["EndpointName"] == project.endpoint]
    assert len(asked) == 1


def test_another_name_of_its_variant_is_refused(project: Project, model_at: ModelAt) -> None:
    """SageMaker shifts calls only between variants of one name."""
    update(project, model_at("v1"))
    project.write(hosting=AT_ONCE + 'variant = "Other"\n')
    said = update(project, model_at("v2"), 2)
    assert said["message"] == "its variants are AllTraffic, not Other"
    assert project.endpoint not in [each["EndpointName"] for each in project.sagemaker.calls("UpdateEndpoint")]


def test_a_stopped_update_goes_on_and_is_followed_again(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=CANARY)
    update(project, model_at("v1"))
    model = model_at("v2", intercept=2.0)
    process = project.beside("endpoint", "update", project.endpoint, "--model", str(model))
    wait_for(lambda: described(project)["EndpointStatus"] == "Updating", 120)
    assert process.kill(signal.SIGINT) == 130
    assert update(project, model)["live"] is True
    updates = [each for each in project.sagemaker.calls("UpdateEndpoint") if each["EndpointName"] == project.endpoint]
    assert len(updates) == 1


@pytest.mark.parametrize("created", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_killed_at_any_call_it_is_done_by_the_next_run(project: Project, model_at: ModelAt, created: bool) -> None:
    if created:
        update(project, model_at("v0"))
    model = model_at("v1", intercept=2.0)
    words = ("endpoint", "update", project.endpoint, "--model", str(model))
    for steps in range(1, 30):
        if not killed(project, steps, *words):
            break
        if project.endpoint in [each["EndpointName"] for each in project.client.list_endpoints()["Endpoints"]]:
            assert described(project)["EndpointStatus"] in ("Creating", "Updating", "InService")
    else:
        pytest.fail("it never ended")
    assert steps > 3
    assert update(project, model)["live"] is True
    asked = [
        each["EndpointName"] == project.endpoint
        for operation in ("CreateEndpoint", "UpdateEndpoint")
        for each in project.sagemaker.calls(operation)
    ]
    assert sum(asked) == 1 + created


def test_machines_that_autoscaling_added_stay_through_an_update(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=AT_ONCE + "max_instances = 4\ncalls_per_instance = 600\n")
    update(project, model_at("v1"))
    update(project, model_at("v2", intercept=1.0))
    asked = project.sagemaker.calls("UpdateEndpoint")[-1]
    assert asked["RetainAllVariantProperties"] is True
    target = project.sagemaker.calls("RegisterScalableTarget")[-1]
    assert (target["ResourceId"], target["MaxCapacity"]) == (f"endpoint/{project.endpoint}/variant/AllTraffic", 4)
    policy = project.sagemaker.calls("PutScalingPolicy")[-1]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == 600.0


def test_a_serverless_endpoint_has_no_machines_and_no_shifting(project: Project, model_at: ModelAt) -> None:
    project.write(hosting="serverless_mb = 2048\nconcurrency = 3\n")
    update(project, model_at("v1"))
    update(project, model_at("v2"))
    [variant] = project.sagemaker.calls("CreateEndpointConfig")[-1]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 3}
    assert "InstanceType" not in variant
    assert "DeploymentConfig" not in project.sagemaker.calls("UpdateEndpoint")[-1]


def test_an_endpoint_with_machines_is_not_made_serverless(project: Project, model_at: ModelAt) -> None:
    """SageMaker refuses that; the other way round it is possible."""
    update(project, model_at("v1"))
    project.write(hosting="serverless_mb = 2048\n")
    said = update(project, model_at("v2"), 2)
    assert said["message"] == "it has machines, and SageMaker makes no such endpoint serverless"
    assert project.endpoint not in [each["EndpointName"] for each in project.sagemaker.calls("UpdateEndpoint")]


@pytest.mark.parametrize("created", [True, False])
def test_what_sagemaker_does_not_see_yet_is_asked_for_again(project: Project, model_at: ModelAt, created: bool) -> None:
    """Its guide says so of a configuration that was made a moment ago. The endpoint may be shown late, too."""
    project.write(hosting='traffic = "CANARY"\nwait = 1\n')
    if created:
        update(project, model_at("v0"))
    once = dict.fromkeys(("CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"), 1)
    project.sagemaker.change(unseen={**once, "DescribeEndpoint": 3})
    assert update(project, model_at("v1", intercept=2.0))["live"] is True


def test_a_request_that_is_wrong_is_said_after_some_tries(project: Project, model_at: ModelAt) -> None:
    project.sagemaker.change(refuse={"CreateEndpoint": "ValidationException"})
    said = update(project, model_at("v1"), 3)
    assert "CreateEndpoint is refused" in said["message"]
    asked = [each for each in project.sagemaker.calls("CreateEndpoint") if each["EndpointName"] == project.endpoint]
    assert len(asked) == 5


def test_a_shadow_gets_the_newest_version_of_its_model(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=AT_ONCE + 'shadow = "bank"\n')
    folder = project.folder / ".whimbrel" / "models" / "bank" / "v9"
    folder.mkdir(parents=True)
    (folder / "model.json").write_bytes(model_at("v9", intercept=3.0).read_bytes())
    update(project, model_at("v1"))
    [shadow] = project.sagemaker.calls("CreateEndpointConfig")[-1]["ShadowProductionVariants"]
    assert "v9" in shadow["ModelName"]


def test_drift_reads_the_calls_that_sagemaker_captured(project: Project, model_at: ModelAt) -> None:
    project.write(hosting=AT_ONCE + "capture_percent = 100\n")
    update(project, model_at("v1"))
    for _ in range(3):
        score(project)
    wait_for(lambda: len(project.bucket.names(f"captured/{project.endpoint}")) > 0)
    found = wait_for(lambda: (moved := project.run("drift"))["rows"] == 3 and moved, 20)
    assert found["version"] == "v1"


def test_drift_leaves_out_what_a_shadow_answered(project: Project, model_at: ModelAt) -> None:
    """It captures the same calls. And the last line of an object counts, also where nothing ends it."""
    project.write(hosting=AT_ONCE + "capture_percent = 100\n")
    update(project, model_at("v1"))
    score(project)
    [name] = wait_for(lambda: project.bucket.names(f"captured/{project.endpoint}"))
    line = project.bucket.get(name).splitlines()[0]
    late = name.replace(".jsonl", "-late.jsonl")
    project.bucket.put(late, line + b"\n" + line)
    project.bucket.put(late.replace("/AllTraffic/", "/Shadow/"), line + b"\n")
    assert project.run("drift")["rows"] == 3


def test_weights_are_shifted_live(project: Project, model_at: ModelAt) -> None:
    update(project, model_at("v1"))
    [status] = project.run("endpoint", "weights", project.endpoint, "AllTraffic=3")["endpoints"]
    assert status["variants"][0]["weight"] == 3


def test_a_model_of_somebody_else_is_named(project: Project, model_at: ModelAt) -> None:
    update(project, model_at("v1"))
    elsewhere = f"s3://{project.bucket.name}/elsewhere/model.tar.gz"
    [name] = project.bucket.names("models/bank/v1/model.tar.gz")
    project.bucket.put("elsewhere/model.tar.gz", project.bucket.get(name))
    client, other = project.client, f"{project.endpoint}-x"
    client.create_model(
        ModelName=other,
        ExecutionRoleArn="arn:aws:iam::111122223333:role/sagemaker",
        PrimaryContainer={"Image": "an/image:1", "ModelDataUrl": elsewhere},
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": other,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    client.create_endpoint_config(EndpointConfigName=other, ProductionVariants=[variant])
    client.update_endpoint(EndpointName=project.endpoint, EndpointConfigName=other)
    wait_for(lambda: described(project)["EndpointConfigName"] == other)
    done = project.call("endpoint", "status")
    assert done.exit_code == 2
    assert f"its model is {elsewhere}, which is not one of this project's" in done.stderr
