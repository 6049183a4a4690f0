"""Control of live endpoints: updates under load, trials, returns, kills in the middle, what survives a restart."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, version, wait_for
from tests.prediction.serve.load import Load
from tests.prediction.serve.models import ROW, model, model_file
from whimbrel.project.endpoint import EndpointRule

HARM = "66,retired,999,1.5"  # what makes a model of faulty.py do harm
Start = Callable[..., Running]
AT_ONCE = EndpointRule(ENDPOINT, "bank", traffic="ALL_AT_ONCE", wait=0, bake=0, capture_percent=0)


def routing(kind: str, wait: int, bake: int = 0, percent: int = 50) -> dict[str, Any]:
    traffic: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait}
    if kind != "ALL_AT_ONCE":
        name = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}[kind]
        traffic[name] = {"Type": "CAPACITY_PERCENT", "Value": percent}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic, "TerminationWaitInSeconds": bake}}


def add_model(server: Running, file: Path, **variant: Any) -> str:
    """A model and a configuration of its own for the file, both under the file's name."""
    client, name = server.client("sagemaker"), file.stem
    client.create_model(ModelName=name, PrimaryContainer={"ModelDataUrl": file.as_uri()})
    made = {"VariantName": "AllTraffic", "ModelName": name} | variant
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[made])
    return name


def settled(server: Running) -> Any:
    client = server.client("sagemaker")

    def now() -> Any:
        found = client.describe_endpoint(EndpointName=ENDPOINT)
        return found if found["EndpointStatus"] in ("InService", "Failed") else None

    return wait_for(now)


def create(server: Running, file: Path) -> None:
    name = add_model(server, file)
    server.client("sagemaker").create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=name)
    assert settled(server)["EndpointStatus"] == "InService"


def update(server: Running, file: Path, deployment: dict[str, Any]) -> Any:
    name = add_model(server, file)
    server.client("sagemaker").update_endpoint(
        EndpointName=ENDPOINT, EndpointConfigName=name, DeploymentConfig=deployment
    )
    return settled(server)


def test_the_control_api_as_boto3_and_the_aws_cli_use_it(start: Start, tmp_path: Path, aws: Callable[..., Any]) -> None:
    server = start()
    client = server.client("sagemaker")
    one, two = (add_model(server, model_file(tmp_path, name)) for name in ("one", "two"))
    client.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=one)
    client.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert version(server.invoke(ROW)) == "one"

    words = ["--endpoint-name", ENDPOINT, "--endpoint-config-name", two]
    aws(server.url, "sagemaker", "update-endpoint", *words)
    found = settled(server)
    assert (found["EndpointConfigName"], found["EndpointStatus"]) == (two, "InService")
    assert version(server.invoke(ROW)) == "two"
    assert [each["EndpointName"] for each in client.list_endpoints()["Endpoints"]] == [ENDPOINT]

    with pytest.raises(ClientError, match="uses it"):
        client.delete_endpoint_config(EndpointConfigName=two)
    client.delete_endpoint_config(EndpointConfigName=one)
    client.delete_model(ModelName=one)
    with pytest.raises(ClientError, match="could not find model 'one'") as caught:
        client.describe_model(ModelName=one)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert aws(server.url, "sagemaker", "list-models")["Models"][0]["ModelName"] == two
    client.delete_endpoint(EndpointName=ENDPOINT)
    with pytest.raises(ClientError, match="not found"):
        server.invoke(ROW)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a model elsewhere": (
        "create_model",
        {"ModelName": "m", "PrimaryContainer": {"ModelDataUrl": "https://example.com/model.tar.gz"}},
        "not on this machine",
    ),
    "a model that the lake's copy of S3 has not": (
        "create_model",
        {"ModelName": "m", "PrimaryContainer": {"ModelDataUrl": "s3://bucket/model.tar.gz"}},
        "cannot be read",
    ),
    "a file that is not a model": (
        "create_model",
        {"ModelName": "m", "PrimaryContainer": {"ModelDataUrl": "whimbrel.toml"}},
        "not JSON",
    ),
    "a model without a file": ("create_model", {"ModelName": "m", "PrimaryContainer": {}}, "ModelDataUrl is missing"),
    "an unknown model": (
        "create_endpoint_config",
        {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "A", "ModelName": "m"}]},
        "could not find model",
    ),
    "an unknown configuration": (
        "create_endpoint",
        {"EndpointName": "e", "EndpointConfigName": "c"},
        "could not find endpoint configuration",
    ),
    "an unknown operation": ("create_cluster", {"ClusterName": "c"}, "not known here"),
}


@pytest.mark.parametrize(("operation", "given", "why"), REFUSED.values(), ids=REFUSED)
def test_what_control_cannot_do_is_a_validation_exception(
    server: Running, operation: str, given: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClientError, match=why) as caught:
        getattr(server.client("sagemaker"), operation)(**given)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def swaps_under_load(server: Running, folder: Path, seconds: float, canaries: Sequence[int]) -> None:
    """200 requests a second over five swaps: no failed answer, and each answer is of the version that it names."""
    create(server, model_file(folder, "v0"))
    scores = {f"v{n}": model(f"v{n}", intercept=n / 2).predict([ROW.split(",")])[0].score for n in range(6)}
    with Load(server.port, f"{ROW}\n" * 3, rate=200, connections=8) as load:
        for number in range(1, 6):
            time.sleep(seconds / 6)
            file = model_file(folder, f"v{number}", intercept=number / 2)
            found = update(server, file, routing("CANARY", 1) if number in canaries else {})
            assert (found["EndpointConfigName"], found.get("FailureReason")) == (f"v{number}", None)
        time.sleep(seconds / 6)
    assert load.errors == []
    assert len(load.answers) > seconds * 150
    for answered, body in load.answers:
        assert {each["score"] for each in json.loads(body)["predictions"]} == {scores[answered]}
    seen = list(dict.fromkeys(answered for answered, _ in load.answers))
    assert seen == [f"v{number}" for number in range(6)]


def test_five_swaps_under_load_cost_no_answer(start: Start, tmp_path: Path) -> None:
    swaps_under_load(start(), tmp_path, 2, canaries=[3])


@pytest.mark.slow
def test_five_swaps_in_a_minute_of_load_cost_no_answer(start: Start, tmp_path: Path) -> None:
    swaps_under_load(start(), tmp_path, 57, canaries=[1, 3, 5])


def test_a_model_that_fails_what_was_asked_lately_takes_no_traffic(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    with Load(server.port, HARM, rate=100, connections=4) as load:
        wait_for(lambda: len(load.answers) > 50)
        found = update(server, model_file(tmp_path, "broken"), routing("CANARY", 60, percent=10))
    assert found["EndpointConfigName"] == "good"
    assert "refuses a call" in found["FailureReason"]
    assert load.errors == []
    assert {answered for answered, _ in load.answers} == {"good"}


def test_errors_on_trial_bring_the_old_model_back(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    name = add_model(server, model_file(tmp_path, "broken"))
    server.client("sagemaker").update_endpoint(
        EndpointName=ENDPOINT, EndpointConfigName=name, DeploymentConfig=routing("CANARY", 60)
    )
    with Load(server.port, HARM, rate=100, connections=4) as load:
        found = settled(server)
    assert found["EndpointConfigName"] == "good"
    assert "failed" in found["FailureReason"]
    assert load.errors == []
    assert {answered for answered, _ in load.answers} == {"good"}


def test_mistakes_of_callers_do_not_count_against_a_new_model(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    with Load(server.port, "34,retired", rate=100, connections=4) as load:
        found = update(server, model_file(tmp_path, "new"), routing("CANARY", 1))
    assert (found["EndpointConfigName"], found.get("FailureReason")) == ("new", None)
    assert load.errors
    assert all(each.startswith("424") for each in load.errors)


def test_a_slow_model_goes_back(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    with Load(server.port, ROW, rate=50, connections=2) as load:
        wait_for(lambda: len(load.answers) > 30)
    name = add_model(server, model_file(tmp_path, "slow"))
    server.client("sagemaker").update_endpoint(
        EndpointName=ENDPOINT, EndpointConfigName=name, DeploymentConfig=routing("CANARY", 60)
    )
    with Load(server.port, HARM, rate=50, connections=2) as load:
        found = settled(server)
    assert found["EndpointConfigName"] == "good"
    assert "9 of 10 calls took up to" in found["FailureReason"]
    assert load.errors == []


def test_a_model_with_other_inputs_is_refused_before_it_takes_traffic(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    server.invoke(ROW)
    made = json.loads(model_file(tmp_path, "other").read_bytes())
    del made["digest"], made["inputs"][0], made["parameters"]["scaled"][0], made["parameters"]["places"][0]
    from whimbrel.prediction.model.model import digest

    (tmp_path / "other.json").write_text(json.dumps({"digest": digest(made)} | made))
    found = update(server, tmp_path / "other.json", {})
    assert found["EndpointConfigName"] == "good"
    assert "refuses a call that the model in service answered" in found["FailureReason"]
    assert version(server.invoke(ROW)) == "good"


def test_an_update_while_one_is_under_way_is_refused(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "one"))
    two, three = (add_model(server, model_file(tmp_path, name)) for name in ("two", "three"))
    client = server.client("sagemaker")
    client.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=two, DeploymentConfig=routing("LINEAR", 30))
    assert client.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "Updating"
    with pytest.raises(ClientError, match="while it is Updating"):
        client.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=three)


def test_of_many_updates_at_once_one_is_taken(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "one"))
    names = [add_model(server, model_file(tmp_path, f"next{number}")) for number in range(4)]
    client = server.client("sagemaker")
    refused: list[str] = []

    def ask(name: str) -> None:
        try:
            client.update_endpoint(
                EndpointName=ENDPOINT, EndpointConfigName=name, DeploymentConfig=routing("CANARY", 30)
            )
        except ClientError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert all("while it is Updating" in each for each in refused)
    assert client.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "Updating"


def test_a_caller_that_hangs_up_leaves_no_change_half_done(start: Start, tmp_path: Path) -> None:
    server = start()
    create(server, model_file(tmp_path, "one"))
    name = add_model(server, model_file(tmp_path, "two"))
    body = json.dumps({"EndpointName": ENDPOINT, "EndpointConfigName": name}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SageMaker.UpdateEndpoint\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # hang up by a reset
    describe = server.client("sagemaker").describe_endpoint
    wait_for(lambda: describe(EndpointName=ENDPOINT)["EndpointConfigName"] == name)
    assert settled(server)["EndpointStatus"] == "InService"


def test_weights_share_the_calls_and_change_live(start: Start, tmp_path: Path) -> None:
    server = start()
    client = server.client("sagemaker")
    for name in ("a", "b"):
        add_model(server, model_file(tmp_path, name))
    variants = [
        {"VariantName": "A", "ModelName": "a", "InitialVariantWeight": 3.0},
        {"VariantName": "B", "ModelName": "b", "InitialVariantWeight": 1.0},
    ]
    client.create_endpoint_config(EndpointConfigName="both", ProductionVariants=variants)
    client.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="both")
    settled(server)
    shares = Counter(server.invoke(ROW)["InvokedProductionVariant"] for _ in range(200))
    assert 100 < shares["A"] < 190
    assert server.invoke(ROW, TargetVariant="B")["InvokedProductionVariant"] == "B"
    weights = [{"VariantName": "A", "DesiredWeight": 0.0}, {"VariantName": "B", "DesiredWeight": 5.0}]
    client.update_endpoint_weights_and_capacities(EndpointName=ENDPOINT, DesiredWeightsAndCapacities=weights)
    assert {server.invoke(ROW)["InvokedProductionVariant"] for _ in range(50)} == {"B"}
    server.kill()
    server.start()
    assert {server.invoke(ROW)["InvokedProductionVariant"] for _ in range(20)} == {"B"}


def test_a_shadow_sees_the_calls_and_its_answers_are_only_captured(start: Start, tmp_path: Path) -> None:
    server = start()
    client = server.client("sagemaker")
    for number, name in enumerate(("front", "shade")):
        add_model(server, model_file(tmp_path, name, intercept=float(number)))
    client.create_endpoint_config(
        EndpointConfigName="shadowed",
        ProductionVariants=[{"VariantName": "Front", "ModelName": "front"}],
        ShadowProductionVariants=[{"VariantName": "Shade", "ModelName": "shade"}],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": (tmp_path / "captured").as_uri(),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        },
    )
    client.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="shadowed")
    settled(server)
    answers = [server.invoke(ROW, InferenceId=f"i-{number}") for number in range(10)]
    assert {answer["InvokedProductionVariant"] for answer in answers} == {"Front"}
    scores = {each["score"] for answer in answers for each in predictions(answer)}
    assert server.stop() == 0
    front, shade = (captured(tmp_path / "captured", variant) for variant in ("Front", "Shade"))
    assert [each["eventMetadata"]["inferenceId"] for each in front] == [f"i-{number}" for number in range(10)]
    assert sorted(each["eventMetadata"]["inferenceId"] for each in shade) == [f"i-{number}" for number in range(10)]
    first = front[0]["captureData"]
    assert first["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": ROW,
        "encoding": "CSV",
    }
    assert (first["endpointOutput"]["mode"], first["endpointOutput"]["encoding"]) == ("OUTPUT", "JSON")
    assert {score_of(each) for each in front} == scores
    assert scores.isdisjoint(score_of(each) for each in shade)
    assert front[0]["eventVersion"] == "0"
    assert front[0]["eventMetadata"]["eventId"] == answers[0]["ResponseMetadata"]["RequestId"]


def captured(folder: Path, variant: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"{ENDPOINT}/{variant}/*/*/*/*/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def score_of(event: dict[str, Any]) -> float:
    return float(json.loads(event["captureData"]["endpointOutput"]["data"])["predictions"][0]["score"])
