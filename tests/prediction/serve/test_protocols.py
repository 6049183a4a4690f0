"""Bodies and paths of other servers: MLflow's scoring server, and the Open Inference Protocol (KServe V2)."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions
from tests.prediction.serve.models import COLUMNS, model

VALUES: list[Any] = [34, "retired", 999, 1.5]
OTHER: list[Any] = [50, "student", 3, None]
WANTED = [{"score": each.score, "predicted_label": each.label} for each in model().predict([VALUES, OTHER])]
JSON = "application/json"
MIXED = [3, 1, 0, 2]  # the columns in another order


def records() -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in (VALUES, OTHER)]


MLFLOW = {
    "dataframe_split": {
        "columns": [COLUMNS[each] for each in MIXED],
        "index": [0, 1],
        "data": [[row[each] for each in MIXED] for row in (VALUES, OTHER)],
    },
    "dataframe_records": records(),
    "inputs": {name: [row[name] for row in records()] for name in COLUMNS},
}


@pytest.mark.parametrize("form", MLFLOW)
def test_the_forms_of_mlflow_are_rows(server: Running, form: str) -> None:
    assert predictions(server.invoke(json.dumps({form: MLFLOW[form]}), JSON)) == WANTED


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"dataframe_split": {"columns": COLUMNS, "data": [VALUES[:3]]}}, "row 1 of dataframe_split"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, "column twice"),
        ({"dataframe_split": {"columns": ["wage"], "data": [[1]]}}, "'wage' is not an input"),
        ({"dataframe_split": [VALUES]}, "dataframe_split must be"),
        ({"inputs": {"age": [1, 2], "job": ["a"]}}, "of the same length"),
        ({"dataframe_records": records(), "inputs": [VALUES]}, "were both sent"),
        ({"instances": [VALUES], "dataframe_records": records()}, "were both sent"),
        ({"dataframe_records": records(), "params": {"threshold": 0.9}}, "params are not supported"),
        ({"instances": [VALUES], "params": {"threshold": 0.9}}, "params are not supported"),
        ({"instances": [VALUES], "parameters": {"threshold": 0.9}}, "'parameters' beside instances"),
        ({"inputs": [VALUES], "signature_name": "other"}, "'signature_name' beside inputs"),
        ({"instances": [{"features": VALUES, "weight": 2}]}, "'weight' beside features"),
    ],
)
def test_a_wrong_body_of_mlflow_is_named(server: Running, body: Any, named: str) -> None:
    with pytest.raises(ClientError) as caught:
        server.invoke(json.dumps(body), JSON)
    response: Any = caught.value.response
    assert response["OriginalStatusCode"] == 400
    assert named in response["OriginalMessage"]


def ask(server: Running, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{server.url}{path}", data, headers | {"Content-Type": JSON})
    try:
        with urlopen(request) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def tensors(rows: int = 2) -> list[dict[str, Any]]:
    types = {"age": "INT64", "job": "BYTES", "pdays": "FP64", "euribor3m": "FP32"}
    data = {name: [row[name] for row in records()][:rows] for name in COLUMNS}
    return [{"name": n, "datatype": types[n], "shape": [rows], "data": data[n]} for n in reversed(COLUMNS)]


INFER = f"/v2/models/{ENDPOINT}/infer"


def test_the_open_inference_protocol_answers_tensors(server: Running) -> None:
    code, found = ask(server, INFER, {"id": "42", "inputs": tensors()})
    assert code == 200
    assert (found["model_name"], found["model_version"], found["id"]) == (ENDPOINT, "v1", "42")
    assert found["outputs"] == [
        {"name": "score", "datatype": "FP64", "shape": [2], "data": [each["score"] for each in WANTED]},
        {"name": "predicted_label", "datatype": "INT64", "shape": [2], "data": [e["predicted_label"] for e in WANTED]},
    ]
    one = {"name": "predict", "datatype": "BYTES", "shape": [2, 4], "data": [VALUES, OTHER]}
    assert ask(server, f"/v2/models/{ENDPOINT}/versions/v1/infer", {"inputs": [one]})[1]["outputs"] == found["outputs"]
    flat = one | {"data": [*VALUES, *OTHER]}
    assert ask(server, INFER, {"inputs": [flat]})[1]["outputs"] == found["outputs"]


def test_a_client_of_the_protocol_finds_the_model(server: Running) -> None:
    assert ask(server, "/v2")[1]["name"] == "whimbrel"
    assert ask(server, "/v2/health/live") == (200, {"live": True})
    assert ask(server, "/v2/health/ready") == (200, {"ready": True})
    assert ask(server, f"/v2/models/{ENDPOINT}/ready") == (200, {"name": ENDPOINT, "ready": True})
    code, about = ask(server, f"/v2/models/{ENDPOINT}")
    assert (code, about["versions"]) == (200, ["v1"])
    assert [(each["name"], each["datatype"]) for each in about["inputs"]] == [
        *(("age", "FP64"), ("job", "BYTES"), ("pdays", "FP64"), ("euribor3m", "FP64")),
    ]
    assert [each["name"] for each in about["outputs"]] == ["score", "predicted_label"]


def test_a_large_request_of_the_protocol_is_answered_in_its_order(server: Running) -> None:
    ages = [17 + number % 80 for number in range(4_000)]
    wide = {"name": "x", "datatype": "BYTES", "shape": [4_000, 4], "data": [[age, "student", "", 2] for age in ages]}
    expected = [each.score for each in model().predict([[age, "student", "", 2] for age in ages])]
    assert ask(server, INFER, {"inputs": [wide]})[1]["outputs"][0]["data"] == expected


def test_the_outputs_that_are_asked_for_are_answered_and_no_others(server: Running) -> None:
    for wanted in ({"name": "score"}, {"name": "score", "parameters": {"binary_data": False}}):
        code, found = ask(server, INFER, {"inputs": tensors(), "outputs": [wanted]})
        assert (code, [each["name"] for each in found["outputs"]]) == (200, ["score"])
    refused: dict[str, Any] = {
        "no output 'margin'": [{"name": "margin"}],
        "'score' appears twice": [{"name": "score"}, {"name": "score"}],
        "only its name is supported": [{"name": "score", "parameters": {"binary_data": True}}],
        "must be a list": {"name": "score"},
    }
    for named, outputs in refused.items():
        code, found = ask(server, INFER, {"inputs": tensors(), "outputs": outputs})
        assert (code, named in found["error"]) == (400, True), found


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        ("INT8", [-128, 127, None], [128, -129, 1.0, "1", True]),
        ("UINT8", [0, 255], [-1, 256]),
        ("INT64", [-(2**63), 2**63 - 1], [2**63, 34.5]),
        ("UINT64", [2**64 - 1], [-1]),
        ("FP32", [1, 1.5, None], ["1.5", True]),
        ("BYTES", ["34", 34, "", None], [[[1]], {"a": 1}]),
        ("BOOL", [None], [0, "true"]),
    ],
)
def test_a_value_is_of_its_tensors_type_or_refused(server: Running, datatype: str, good: Any, bad: Any) -> None:
    def answered(value: Any) -> tuple[int, dict[str, Any]]:
        return ask(server, INFER, {"inputs": [AGE | {"datatype": datatype, "data": [value]}]})

    for value in good:
        assert answered(value)[0] == 200, value
    for value in bad:
        code, found = answered(value)
        assert (code, f"is not a value of {datatype}" in found["error"]) == (400, True), (value, found)


AGE = {"name": "age", "datatype": "FP64", "shape": [1], "data": [3]}


@pytest.mark.parametrize(
    ("path", "body", "code", "named"),
    [
        ("/v2/models/nobody/infer", {"inputs": [AGE]}, 404, "no model"),
        (f"/v2/models/{ENDPOINT}/versions/v9/infer", {"inputs": [AGE]}, 404, "'v1', not 'v9'"),
        (f"/v2/models/{ENDPOINT}/load", {}, 404, "nothing at this path"),
        (INFER, {"inputs": []}, 400, "inputs"),
        (INFER, {"inputs": [AGE], "id": 7}, 400, "id must be a string"),
        (INFER, {"inputs": [AGE], "parameters": {"binary_data_output": True}}, 400, "'parameters'"),
        (INFER, {"inputs": [AGE | {"parameters": {"binary_data_size": 8}}]}, 400, "'parameters'"),
        (INFER, {"inputs": [AGE | {"shape": [2]}]}, 400, "do not fill"),
        (INFER, {"inputs": [AGE | {"datatype": "COMPLEX"}]}, 400, "'COMPLEX'"),
        (INFER, {"inputs": [AGE, AGE]}, 400, "appears twice"),
        (INFER, {"inputs": [AGE | {"shape": [10_001], "data": [3] * 10_001}]}, 400, "more than the limit of 10000"),
        (INFER, {"inputs": [AGE | {"name": "wage"}]}, 400, "'wage' is not an input"),
        (INFER, {"inputs": [AGE | {"data": ["x"]}]}, 400, "input 'age': 'x' is not a value of FP64"),
        (INFER, {"inputs": [AGE | {"datatype": "BYTES", "data": ["x"]}]}, 400, "column 'age' must be a finite number"),
    ],
)
def test_anything_else_is_refused_by_name(server: Running, path: str, body: Any, code: int, named: str) -> None:
    found, answer = ask(server, path, body)
    assert found == code
    assert named in answer["error"]


def test_bytes_behind_the_json_are_refused(server: Running) -> None:
    found, answer = ask(server, INFER, {"inputs": [AGE]}, **{"Inference-Header-Content-Length": "10"})
    assert (found, "binary tensor data" in answer["error"]) == (400, True)
