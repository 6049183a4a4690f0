"""linear-learner, SageMaker's own algorithm: what it is told, and the weights in what it leaves.

Its model.tar.gz has one zip file, ``model_algo-1``, with

===========================  ==================================================================================
manifest.json                ``{"mx-mod": "mxnet_module", "additional-params.json": "json", "version": 1}``
additional-params.json       ``predictor_type``, ``loss_type``, ``threshold`` and others
mx-mod-symbol.json           the network: data · fc0_weight + fc0_bias, and the loss
mx-mod-0000.params           both arrays, as MXNet writes them (params.py)
===========================  ==================================================================================

Nothing of MXNet is needed to read that. A network of another form is refused: its weights would mean something else.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from whimbrel.errors import ModelDamaged
from whimbrel.prediction.aws.params import NamedArray, read_params

ALGORITHM = "model_algo-1"
MOST_BYTES = 1 << 28  # of a part, unpacked
MANIFEST, MORE, SYMBOL, PARAMS = "manifest.json", "additional-params.json", "mx-mod-symbol.json", "mx-mod-0000.params"
PREDICTORS = {"binary": "binary_classifier", "multiclass": "multiclass_classifier", "regression": "regressor"}
LOSSES = {"binary": "logistic", "multiclass": "softmax_loss", "regression": "squared_loss"}
_WEIGHT, _BIAS = "arg:fc0_weight", "arg:fc0_bias"
# By region: who owns its image. Source: image_uri_config/linear-learner.json of the SageMaker SDK for Python.
ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446",
    "ap-northeast-3": "364406365360",
    "ap-south-1": "991648021394",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "712309505854",
    "ca-central-1": "469771592824",
    "cn-north-1": "390948362332",
    "cn-northwest-1": "387376663083",
    "eu-central-1": "664544806723",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-west-1": "438346466558",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "382416733822",
    "us-east-2": "404615174143",
    "us-gov-west-1": "226302683700",
    "us-west-1": "632365934929",
    "us-west-2": "174872318107",
}


class Weights(NamedTuple):
    """``columns[column][output]`` weighs each column of the training data; ``start`` has one number an output."""

    columns: tuple[tuple[float, ...], ...]
    start: tuple[float, ...]


def image_of(region: str) -> str:
    """linear-learner's image, "" for a region of which its owner is not known here."""
    account = ACCOUNTS.get(region)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}/linear-learner:1" if account else ""


def hyperparameters(
    kind: str, width: int, classes: int, rows: int, balance: str, given: Mapping[str, str]
) -> dict[str, str]:
    """What the algorithm is told; ``given`` takes the place of what it names.

    The columns are scaled already, so the algorithm does not do so: its weights then are those of our columns.
    """
    told = {
        "predictor_type": PREDICTORS[kind],
        "loss": LOSSES[kind],
        "feature_dim": str(width),
        "mini_batch_size": str(max(1, min(1000, rows // 10))),
        "normalize_data": "false",
    }
    if kind == "multiclass":
        told |= {"num_classes": str(classes)} | ({"balance_multiclass_weights": "true"} if balance != "none" else {})
    if kind == "binary":
        told |= {"binary_classifier_model_selection_criteria": "loss_function"}
        told |= {"positive_example_weight_mult": "balanced"} if balance != "none" else {}
    return told | dict(given)


def read_weights(data: bytes, place: str, kind: str, width: int, outputs: int) -> Weights:
    """The weights in ``model_algo-1``, of ``width`` columns. Raises ModelDamaged naming what does not fit."""
    try:
        parts = _parts(data)
        if orjson.loads(parts[MANIFEST]) != {MORE: "json", "mx-mod": "mxnet_module", "version": 1}:
            raise ValueError(f"{MANIFEST} is of another version")
        _check(orjson.loads(parts[MORE]), kind)
        _check_network(orjson.loads(parts[SYMBOL]))
        arrays = read_params(parts[PARAMS])
        if set(arrays) != {_WEIGHT, _BIAS}:
            raise ValueError(f"it has the arrays {', '.join(sorted(arrays))}")
        weight, bias = arrays[_WEIGHT], arrays[_BIAS]
        if weight.shape != (width, outputs) or bias.shape not in ((1, outputs), (outputs,)):
            raise ValueError(f"weights of {weight.shape} and a start of {bias.shape} are not those of {width} columns")
        return Weights(_rows(weight), bias.values)
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelDamaged(
            f"not a model of linear-learner that can be read: {error!r}",
            place=place,
            hint='Serve it as it is, by the algorithm\'s own image; or train with learner = "linear".',
        ) from None


def _parts(data: bytes) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in (MANIFEST, MORE, SYMBOL, PARAMS):
            if archive.getinfo(name).file_size > MOST_BYTES:
                raise ValueError(f"{name} is too large")
            with archive.open(name) as file:
                found[name] = file.read(MOST_BYTES)
    return found


def _check(more: dict[str, Any], kind: str) -> None:
    if more["predictor_type"] != PREDICTORS[kind]:
        raise ValueError(f"it is a {more['predictor_type']}, not a {PREDICTORS[kind]}")
    if more["loss_type"] != LOSSES[kind]:
        raise ValueError(f"its loss is {more['loss_type']}, not {LOSSES[kind]}")


def _check_network(symbol: dict[str, Any]) -> None:
    """That the loss is over data · fc0_weight + fc0_bias, and that nothing else is in it."""
    nodes = symbol["nodes"]
    by_name = {each["name"]: number for number, each in enumerate(nodes)}
    product, total = _only(nodes, "dot"), _only(nodes, "broadcast_add")
    inputs = {number: [each[0] for each in nodes[number]["inputs"]] for number in (product, total)}
    ends = [each for number, each in enumerate(nodes) if each["op"] != "null" and number not in (product, total)]
    plain = (
        inputs[product] == [by_name["data"], by_name["fc0_weight"]]
        and inputs[total] == [product, by_name["fc0_bias"]]
        and len(ends) == 1
        and total in [each[0] for each in ends[0]["inputs"]]
    )
    if not plain:
        raise ValueError("its network is not one sum of weighted columns")


def _only(nodes: list[dict[str, Any]], operation: str) -> int:
    (found,) = [number for number, each in enumerate(nodes) if each["op"] == operation]
    return found


def _rows(array: NamedArray) -> tuple[tuple[float, ...], ...]:
    outputs = array.shape[1]
    return tuple(array.values[at : at + outputs] for at in range(0, len(array.values), outputs))
