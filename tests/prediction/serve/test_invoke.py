"""InvokeEndpoint, judged by boto3 and the AWS CLI: formats in, formats out, and what is said of a wrong row."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, version
from tests.prediction.serve.models import ROW, model
from whimbrel.prediction.serve.served import Call, Served

VALUES: list[Any] = [34, "retired", 999, 1.5]
BY_NAME: dict[str, Any] = dict(zip(["age", "job", "pdays", "euribor3m"], VALUES, strict=True))
EXPECTED = model().predict([VALUES])[0]


def test_the_call_of_the_post(server: Running) -> None:
    answer = server.invoke("34,retired,999,1.5")
    assert predictions(answer) == [{"score": EXPECTED.score, "predicted_label": EXPECTED.label}]
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert version(answer) == "v1"
    uuid.UUID(answer["ResponseMetadata"]["RequestId"])


SAME_ROW = {
    "csv with a line end": ("text/csv", ROW + "\r\n"),
    "csv with a label size": ("text/csv;label_size=0", ROW),
    "csv in quotes": ("text/csv", '"34","retired","999","1.5"'),
    "csv under a header": ("text/csv; charset=utf-8", "euribor3m,customer_id,job,age,pdays\n1.5,c-1,retired,34,999\n"),
    "csv with a byte order mark": ("text/csv", "\ufeff" + ROW),
    "instances": ("application/json", {"instances": [{"features": VALUES}]}),
    "instances with data": ("application/json", {"instances": [{"data": {"features": {"values": VALUES}}}]}),
    "instances by name": ("application/json", {"instances": [{"features": BY_NAME}]}),
    "instances as objects": ("application/json", {"instances": [BY_NAME | {"customer_id": "c-1"}]}),
    "instances as lists": ("application/json", {"instances": [VALUES]}),
    "numbers as texts": ("application/json", {"instances": [{"features": [str(each) for each in VALUES]}]}),
    "sparse": (
        "application/json",
        {
            "instances": [
                {"data": {"features": {"keys": [3, 0, 2, 1], "shape": [4], "values": [1.5, 34, 999, "retired"]}}}
            ]
        },
    ),
    "jsonlines": ("application/jsonlines", json.dumps({"features": VALUES})),
    "jsonlines with data": ("application/jsonlines", json.dumps({"data": {"features": {"values": VALUES}}}) + "\n"),
}


@pytest.mark.parametrize(("content_type", "body"), SAME_ROW.values(), ids=SAME_ROW)
def test_every_form_of_a_row_has_the_same_answer(server: Running, content_type: str, body: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = server.invoke(text.encode(), content_type, Accept="application/json")
    assert predictions(answer) == [{"score": EXPECTED.score, "predicted_label": EXPECTED.label}]


def test_many_rows_are_answered_in_their_order(server: Running) -> None:
    ages = [17 + number % 80 for number in range(5_000)]
    expected = [each.score for each in model().predict([[age, "student", "", 2] for age in ages])]
    answer = server.invoke("\n".join(f"{age},student,,2" for age in ages))
    assert [each["score"] for each in predictions(answer)] == expected


def test_json_lines_come_out_when_they_are_asked_for(server: Running) -> None:
    answer = server.invoke(f"{ROW}\n{ROW}", Accept="application/jsonlines")
    line = {"score": EXPECTED.score, "predicted_label": EXPECTED.label}
    assert answer["ContentType"] == "application/jsonlines"
    assert [json.loads(each) for each in answer["Body"].read().splitlines()] == [line, line]


WRONG: dict[str, tuple[str, str | bytes, list[str]]] = {
    "a text for a number": ("text/csv", "34,retired,never,1.5", ["row 1", "'pdays'", "'never'"]),
    "in the second row": ("text/csv", f"{ROW}\n34,retired,999,1_5", ["row 2", "'euribor3m'", "'1_5'"]),
    "not finite": ("text/csv", "nan,retired,999,1.5", ["row 1", "'age'"]),
    "too few": ("text/csv", "34,retired", ["row 1", "'pdays' is missing", "2 values, not 4"]),
    "too many": ("text/csv", ROW + ",1", ["row 1", "after the last column, 'euribor3m'"]),
    "late in a large body": ("text/csv", f"{ROW}\n" * 3_000 + "x,retired,1,1", ["row 3001", "'age'"]),
    "a list for a text": ("application/json", '{"instances": [{"features": [34, ["a"], 999, 1.5]}]}', ["'job'"]),
    "an unknown name": ("application/json", '{"instances": [{"ag": 34}]}', ["row 1", "'ag'"]),
    "no rows": ("text/csv", "\n\n", ["no row"]),
    "an open quote": ("text/csv", '34,"retired', ["line 1", "not CSV"]),
    "not UTF-8": ("text/csv", b"34,ret\xffired,999,1.5", ["line 1", "not UTF-8"]),
    "a short row under a header": ("text/csv", "age,job,pdays,euribor3m\n34,retired", ["line 2"]),
    "not JSON": ("application/json", '{"instances": [', ["not JSON"]),
    "JSON without instances": ("application/json", '{"rows": []}', ["instances"]),
    "a line that is not JSON": ("application/jsonlines", json.dumps({"features": VALUES}) + "\n{", ["line 2"]),
    "a key beyond the shape": (
        "application/json",
        '{"instances": [{"data": {"features": {"keys": [4], "shape": [4], "values": [1]}}}]}',
        ["key 4", "0 to 3"],
    ),
}


@pytest.mark.parametrize(("content_type", "body", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_row_is_refused_and_the_column_named(
    server: Running, content_type: str, body: str | bytes, named: list[str]
) -> None:
    with pytest.raises(ClientError) as caught:
        server.invoke(body, content_type)
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400
    assert [word for word in named if word not in response["OriginalMessage"]] == []
    assert response["OriginalMessage"] in response["Error"]["Message"]


@pytest.mark.parametrize(
    ("more", "status"),
    [({"content_type": "image/png"}, 415), ({"Accept": "image/png"}, 406)],
    ids=["content type", "accept"],
)
def test_a_format_that_is_not_known_is_refused(server: Running, more: dict[str, str], status: int) -> None:
    with pytest.raises(ClientError) as caught:
        server.invoke(ROW, **more)
    response: Any = caught.value.response
    assert response["OriginalStatusCode"] == status


def stream(server: Running, body: str | bytes, content_type: str = "text/csv", **more: Any) -> Any:
    client = server.client()
    return client.invoke_endpoint_with_response_stream(
        EndpointName=ENDPOINT, Body=body, ContentType=content_type, **more
    )


def test_a_response_stream_brings_the_same_answer_in_parts(server: Running) -> None:
    body = "\n".join([ROW] * 3_000)
    answer = stream(server, body, Accept="application/jsonlines", CustomAttributes="trace=1")
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert len(parts) > 1
    assert b"".join(parts) == server.invoke(body, Accept="application/jsonlines")["Body"].read()
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/jsonlines", "AllTraffic")
    assert answer["CustomAttributes"] == "trace=1"
    [only] = stream(server, ROW)["Body"]
    assert json.loads(only["PayloadPart"]["Bytes"])["predictions"][0]["score"] == EXPECTED.score


def test_a_wrong_row_is_no_stream_but_an_error(server: Running) -> None:
    with pytest.raises(ClientError, match="row 2: column 'age'") as caught:
        stream(server, f"{ROW}\nx,retired,1,1")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    with pytest.raises(ClientError, match="Endpoint nobody not found"):
        server.client().invoke_endpoint_with_response_stream(EndpointName="nobody", Body=ROW)


def test_an_asynchronous_call_is_refused_with_what_to_do_instead(server: Running) -> None:
    with pytest.raises(ClientError, match="whimbrel predict --model FILE") as caught:
        server.client().invoke_endpoint_async(EndpointName=ENDPOINT, InputLocation="s3://bucket/rows.csv")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_an_endpoint_that_is_not_there_is_a_validation_error(server: Running) -> None:
    client = server.client()
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName="nobody", Body=ROW, ContentType="text/csv")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="no production variant 'other'"):
        server.invoke(ROW, TargetVariant="other")


def test_custom_attributes_come_back(server: Running) -> None:
    answer = server.invoke(ROW, CustomAttributes="trace=1;x", InferenceId="i-1", TargetVariant="AllTraffic")
    assert answer["CustomAttributes"] == "trace=1;x"


def test_the_aws_cli_is_a_client(server: Running, aws: Callable[..., Any], tmp_path: Path) -> None:
    body, out = tmp_path / "body.csv", tmp_path / "out.json"
    body.write_text(ROW)
    words = ["sagemaker-runtime", "invoke-endpoint", "--endpoint-name", ENDPOINT, "--content-type", "text/csv"]
    said = aws(server.url, *words, "--body", f"fileb://{body}", str(out))
    assert said["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads(out.read_text())["predictions"] == [{"score": EXPECTED.score, "predicted_label": EXPECTED.label}]


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_other_kinds_of_model_answer_in_their_form(kind: str) -> None:
    made = model(kind=kind)
    expected = made.predict([VALUES])[0]
    answer = Served("m", made).answer(Call(ROW.encode(), "text/csv", ""))
    wanted: dict[str, Any] = {"score": expected.score}
    if kind == "multiclass":
        wanted |= {"predicted_label": expected.label, "predicted_class": expected.name}
    assert json.loads(answer.body) == {"predictions": [wanted]}
