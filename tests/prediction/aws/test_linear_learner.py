"""linear-learner's artifact: read without MXNet, and held against what MXNet itself wrote and predicts."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.linear_learner import OUTPUTS, params, symbol
from whimbrel.errors import ModelDamaged
from whimbrel.prediction.aws.linear_learner import LOSSES, PREDICTORS, image_of, read_weights
from whimbrel.prediction.aws.params import read_params

BY_MXNET = Path(__file__).with_name("mxnet")
KINDS = {"regression": 1, "binary": 1, "multiclass": 3}


def of_mxnet(kind: str, name: str) -> bytes:
    return (BY_MXNET / PREDICTORS[kind] / name).read_bytes()


def artifact(kind: str, **instead: Any) -> bytes:
    """``model_algo-1`` with MXNet's own files; ``instead`` takes the place of one."""
    parts = {
        "manifest.json": {"additional-params.json": "json", "mx-mod": "mxnet_module", "version": 1},
        "additional-params.json": {"predictor_type": PREDICTORS[kind], "loss_type": LOSSES[kind], "threshold": 0.5},
        "mx-mod-symbol.json": json.loads(of_mxnet(kind, "mx-mod-symbol.json")),
        "mx-mod-0000.params": of_mxnet(kind, "mx-mod-0000.params"),
    } | instead
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, each in parts.items():
            if each is not None:
                archive.writestr(name, each if isinstance(each, bytes) else json.dumps(each))
    return made.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_give_what_mxnet_predicts(kind: str) -> None:
    answers = json.loads(of_mxnet(kind, "answers.json"))
    found = read_weights(artifact(kind), "here", kind, 4, KINDS[kind])
    assert found.columns == tuple(map(tuple, answers["weights"]))
    sums = np.array(answers["rows"]) @ np.array(found.columns) + np.array(found.start)
    top = np.exp(sums - sums.max(1, keepdims=True))
    scores = {"regression": sums, "binary": 1 / (1 + np.exp(-sums)), "multiclass": top / top.sum(1, keepdims=True)}
    np.testing.assert_allclose(scores[kind], np.array(answers["scores"]), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stand_in_writes_the_bytes_that_mxnet_writes(kind: str) -> None:
    answers = json.loads(of_mxnet(kind, "answers.json"))
    weights, bias = np.array(answers["weights"], "float32"), np.array(answers["bias"], "float32")
    assert params({"arg:fc0_weight": weights, "arg:fc0_bias": bias}) == of_mxnet(kind, "mx-mod-0000.params")
    nodes = symbol(PREDICTORS[kind], weights.shape)["nodes"]
    assert nodes == json.loads(of_mxnet(kind, "mx-mod-symbol.json"))["nodes"]
    assert OUTPUTS.keys() == set(PREDICTORS.values())


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"manifest.json": {"version": 2}}, "manifest.json is of another version"),
        ({"manifest.json": None}, "manifest.json"),
        (
            {"additional-params.json": {"predictor_type": "regressor", "loss_type": "x"}},
            "a regressor, not a binary",
        ),
        (
            {"additional-params.json": {"predictor_type": "binary_classifier", "loss_type": "hinge_loss"}},
            "its loss is hinge_loss, not logistic",
        ),
        ({"mx-mod-symbol.json": {"nodes": []}}, "ValueError"),
        ({"mx-mod-0000.params": b"\x12\x01"}, "it is cut off"),
        ({"mx-mod-0000.params": params({"arg:fc0_weight": np.ones((4, 1))})}, "it has the arrays arg:fc0_weight"),
        (
            {"mx-mod-0000.params": params({"arg:fc0_weight": np.ones((5, 1)), "arg:fc0_bias": np.ones((1, 1))})},
            "are not those of 4 columns",
        ),
    ],
)
def test_what_is_not_such_a_model_is_refused_by_name(instead: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelDamaged, match="linear-learner that can be read") as refused:
        read_weights(artifact("binary", **instead), "s3://bucket/model.tar.gz", "binary", 4, 1)
    assert said in str(refused.value)
    assert "s3://bucket/model.tar.gz" in str(refused.value)


def test_a_network_with_more_in_it_is_refused() -> None:
    network = json.loads(of_mxnet("binary", "mx-mod-symbol.json"))
    network["nodes"].insert(0, {"op": "relu", "name": "hidden", "inputs": [[0, 0, 0]]})
    with pytest.raises(ModelDamaged, match="not one sum of weighted columns"):
        read_weights(artifact("binary", **{"mx-mod-symbol.json": network}), "here", "binary", 4, 1)


@given(at=st.integers(0, 173), byte=st.integers(0, 255), keep=st.integers(0, 174), more=st.binary(max_size=8))
def test_other_bytes_are_arrays_or_refused(at: int, byte: int, keep: int, more: bytes) -> None:
    data = bytearray(of_mxnet("binary", "mx-mod-0000.params"))
    data[at] = byte
    try:
        found = read_params(bytes(data[:keep]) + more)
    except ValueError:
        return
    for each in found.values():
        assert len(each.values) == int(np.prod(each.shape))


def test_the_image_is_that_of_the_region() -> None:
    assert image_of("us-east-1") == "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"
    assert image_of("cn-north-1").endswith(".amazonaws.com.cn/linear-learner:1")
    assert image_of("mars-1") == ""
