"""The answer's forms: class names and their order, CSV, Accept; and every header of InvokeEndpoint, judged by boto3."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, serve_command, wait_for
from tests.prediction.serve.models import ROW, model
from whimbrel.prediction.model.model import load_model, save_model
from whimbrel.prediction.serve.captured_calls import captured_drift
from whimbrel.prediction.serve.served import Call, Served

CLASSES = ("b,c", 'say "é"', "z")
VALUES = [34, "retired", 999, 1.5]


def three() -> Any:
    return replace(model(kind="multiclass"), labels=CLASSES, digest="")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose model has three classes with names that need care."""
    folder = tmp_path_factory.mktemp("many")
    save_model(three(), folder / "m.json")
    project = f'[[endpoint]]\nname = "{ENDPOINT}"\ncapture_percent = 100\n'
    running = Running(serve_command(folder, project, "--model", str(folder / "m.json")), folder)
    yield running
    assert running.stop() == 0


def test_several_classes_are_named_in_json_and_in_json_lines(many: Running) -> None:
    expected = three().predict([VALUES])[0]
    wanted = {"score": expected.score, "predicted_label": expected.label, "predicted_class": CLASSES[expected.label]}
    answer = many.invoke(f"{ROW}\n{ROW}")
    assert predictions(answer) == [wanted, wanted]
    lines = many.invoke(f"{ROW}\n{ROW}", Accept="application/jsonlines")["Body"].read().splitlines()
    assert [json.loads(each) for each in lines] == [wanted, wanted]
    header = answer["ResponseMetadata"]["HTTPHeaders"]["x-whimbrel-classes"]
    assert [unquote(each) for each in header.split(", ")] == list(CLASSES)
    with urlopen(f"{many.url}/status") as answer:
        [variant] = json.load(answer)["endpoints"][0]["variants"]
    assert variant["classes"] == list(CLASSES)


def test_recordio_has_the_numbers_alone(many: Running) -> None:
    from whimbrel.prediction.serve.recordio import read_labels

    answer = many.invoke(ROW, Accept="application/x-recordio-protobuf")
    [found] = read_labels(answer["Body"].read())
    assert set(found) == {"score", "predicted_label"}


def test_two_classes_have_their_order_in_the_header(server: Running) -> None:
    found = server.invoke(ROW)["ResponseMetadata"]["HTTPHeaders"]
    assert found["x-whimbrel-classes"] == "no, yes"


def test_the_header_of_many_classes_has_an_end() -> None:
    labels = tuple(f"class\r\n{number} {'é' * 40}" for number in range(300))
    served = Served("m", replace(model(kind="regression"), labels=labels, digest=""))
    line = served.headers.splitlines()[1]
    assert line.endswith(" more)")
    assert len(line) < 1_100
    assert line.isascii()
    assert len(line.split(", ")) - 1 + int(line.rpartition("(")[2].split()[0]) == 300


@pytest.mark.parametrize(
    "accept", ["text/csv", "TEXT/CSV; charset=utf-8", "application/json;q=0.5, text/csv", "text/*"]
)
def test_csv_is_answered_in_lines(server: Running, many: Running, accept: str) -> None:
    one = model().predict([VALUES])[0]
    answer = server.invoke(f"{ROW}\n{ROW}", Accept=accept)
    assert answer["ContentType"] == "text/csv"
    assert answer["Body"].read().decode() == f"{one.score!r},{one.label}\n" * 2
    expected = three().predict([VALUES])[0]
    [fields] = csv.reader(io.StringIO(many.invoke(ROW, Accept=accept)["Body"].read().decode(), newline=""))
    assert [float(each) for each in fields[:3]] == expected.score
    assert fields[3:] == [str(expected.label), CLASSES[expected.label]]


def test_a_regression_is_one_number_a_line() -> None:
    made = model(kind="regression")
    answer = Served("m", made).answer(Call(ROW.encode(), "text/csv", "text/csv"))
    assert answer.body.decode() == f"{made.predict([VALUES])[0].score!r}\n"
    assert "x-whimbrel-classes" not in Served("m", made).headers


@pytest.mark.parametrize(
    "accept", ["application/json", "application/jsonlines", "text/csv", "application/x-recordio-protobuf"]
)
def test_an_answer_of_many_parts_is_that_of_one(accept: str) -> None:
    body = "".join(f"{17 + number % 60},student,,2\n" for number in range(250)).encode()
    served, call = Served("m", three()), Call(body, "text/csv", accept)
    *steps, answer = served.steps(call, 100)
    assert steps == [None, None]
    assert answer
    assert (answer.rows, answer.body) == (250, served.answer(call).body)


@pytest.mark.parametrize(
    "accept", ["image/png", "text/html, application/xml", "application/json;q=0", "application/json;q=x"]
)
def test_an_accept_that_cannot_be_given_is_refused_by_name(server: Running, accept: str) -> None:
    with pytest.raises(ClientError) as caught:
        server.invoke(ROW, Accept=accept)
    response: Any = caught.value.response
    assert response["OriginalStatusCode"] == 406
    assert repr(accept) in response["OriginalMessage"]
    assert "text/csv" in response["OriginalMessage"]


def test_captured_answers_in_csv_are_read_again(many: Running) -> None:
    for number in range(60):
        many.invoke(f"{20 + number},retired,999,1.5", Accept="text/csv")
    folder = Path(many._folder) / ".whimbrel" / "capture" / ENDPOINT
    made = load_model(Path(many._folder) / "m.json")
    assert wait_for(lambda: captured_drift(made, folder).rows >= 60)


TAKEN = {"EndpointName", "Body", "ContentType", "Accept", "CustomAttributes", "TargetVariant", "InferenceId"}
WITHOUT_MEANING = {"PrefixAwareId": "prefix-1"}
REFUSED = {
    "TargetModel": ("bank.tar.gz", "Target-Model"),
    "TargetContainerHostname": ("second", "Target-Container-Hostname"),
    "InferenceComponentName": ("component", "Inference-Component"),
    "EnableExplanations": ("`true`", "Enable-Explanations"),
    "SessionId": ("NEW_SESSION", "Session-Id"),
}


def test_every_part_of_the_api_is_taken_or_refused(server: Running) -> None:
    for name in ("InvokeEndpoint", "InvokeEndpointWithResponseStream"):
        known = set(server.client().meta.service_model.operation_model(name).input_shape.members)
        assert known <= TAKEN | set(WITHOUT_MEANING) | set(REFUSED)
    wanted = predictions(server.invoke(ROW))
    assert predictions(server.invoke(ROW, TargetVariant="AllTraffic", **WITHOUT_MEANING)) == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_answer_is_refused_by_name(server: Running, name: str) -> None:
    value, header = REFUSED[name]
    client = server.client()
    for way in ("InvokeEndpoint", "InvokeEndpointWithResponseStream"):
        if name not in client.meta.service_model.operation_model(way).input_shape.members:
            continue
        call = client.invoke_endpoint if way == "InvokeEndpoint" else client.invoke_endpoint_with_response_stream
        with pytest.raises(ClientError) as caught:
            call(EndpointName=ENDPOINT, Body=ROW, ContentType="text/csv", **{name: value})
        response: Any = caught.value.response
        assert response["Error"]["Code"] == "ValidationError"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert f"x-amzn-sagemaker-{header}".lower() in response["Error"]["Message"]


def test_a_target_variant_that_is_not_there_is_refused(server: Running) -> None:
    with pytest.raises(ClientError, match="has no production variant 'Other'"):
        server.invoke(ROW, TargetVariant="Other")


def test_a_header_of_sagemaker_that_nobody_knows_is_refused(server: Running) -> None:
    client = server.client()

    def add(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-SageMaker-Temperature"] = "0.5"

    client.meta.events.register("before-sign.sagemaker-runtime.InvokeEndpoint", add)
    try:
        with pytest.raises(ClientError, match="x-amzn-sagemaker-temperature cannot be honoured"):
            server.invoke(ROW)
    finally:
        client.meta.events.unregister("before-sign.sagemaker-runtime.InvokeEndpoint", add)
