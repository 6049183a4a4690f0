"""A stand-in for linear-learner's container: the same contract, refusals and artifact, another solver.

As the algorithm does, it takes CSV with the label first, no header and numbers alone, refuses hyperparameters that it
does not know, and leaves ``model_algo-1``: a zip file with MXNet's files (src/whimbrel/prediction/aws/linear_learner.py
has the form). The arrays are written here, by what MXNet itself writes, and not by whimbrel's own reader.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KNOWN = (
    "predictor_type feature_dim num_classes num_models loss optimizer learning_rate wd l1 momentum beta_1 beta_2 epochs"
    " mini_batch_size normalize_data normalize_label unbias_data unbias_label use_bias balance_multiclass_weights"
    " f_beta binary_classifier_model_selection_criteria target_recall target_precision positive_example_weight_mult"
    " accuracy_top_k early_stopping_patience early_stopping_tolerance init_method init_scale init_sigma init_bias"
)
OUTPUTS = {
    "regressor": "LinearRegressionOutput",
    "binary_classifier": "LogisticRegressionOutput",
    "multiclass_classifier": "SoftmaxOutput",
}
LOSSES = {"regressor": "squared_loss", "binary_classifier": "logistic", "multiclass_classifier": "softmax_loss"}
Array = NDArray[Any]


class Refused(Exception):
    """What the algorithm calls a ClientError."""


def main(folder: Path) -> int:
    try:
        train(folder)
    except Refused as error:
        failure = folder / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"ClientError: {error}")
        print(f"ClientError: {error}", file=sys.stderr)
        return 1
    return 0


def train(folder: Path) -> None:
    told = json.loads((folder / "input" / "config" / "hyperparameters.json").read_text())
    if unknown := sorted(set(told) - set(KNOWN.split())):
        raise Refused(f"Additional hyperparameters are not allowed ({unknown[0]!r} was unexpected)")
    kind = told.get("predictor_type")
    if kind not in OUTPUTS:
        raise Refused("No hyperparameter value for predictor_type was found: it is required")
    rows, labels = _channel(folder, "train", told)
    if int(told.get("mini_batch_size", 1000)) > len(rows):
        raise Refused(
            f"mini_batch_size {told['mini_batch_size']} is more than the {len(rows)} rows of the channel train"
        )
    weights, bias = _fitted(kind, rows, labels, told)
    if (folder / "input" / "data" / "validation").exists():
        held, outcomes = _channel(folder, "validation", told)
        score = _quality(kind, held @ weights + bias, outcomes)
        print(f"#quality_metric: host=algo-1, validation objective_loss <loss>={score}", flush=True)
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "model_algo-1").write_bytes(artifact(kind, weights, bias, told))


def _channel(folder: Path, name: str, told: dict[str, str]) -> tuple[Array, Array]:
    files = sorted(path for path in (folder / "input" / "data" / name).rglob("*") if path.is_file())
    try:
        data = np.concatenate([np.loadtxt(path, delimiter=",", dtype="float32", ndmin=2) for path in files])
    except ValueError as error:
        raise Refused(f"Unable to read data channel '{name}'. Requested content-type is 'text/csv'. {error}") from None
    width = told.get("feature_dim", "auto")
    if width not in ("auto", str(data.shape[1] - 1)):
        raise Refused(f"feature_dim is {width}, and the channel '{name}' has {data.shape[1] - 1} features")
    return data[:, 1:], data[:, 0]


def _fitted(kind: str, rows: Array, labels: Array, told: dict[str, str]) -> tuple[Array, Array]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if kind == "regressor":
        ridge = Ridge(alpha=1.0).fit(rows, labels)
        return ridge.coef_.reshape(-1, 1).astype("float32"), np.array([[ridge.intercept_]], "float32")
    classes = 2 if kind == "binary_classifier" else int(told["num_classes"])
    if set(np.unique(labels)) - set(range(classes)):
        raise Refused(f"the labels of a {kind} must be 0 to {classes - 1}")
    fitted = LogisticRegression(C=0.1, max_iter=200).fit(rows, labels.astype(int))
    return fitted.coef_.T.astype("float32"), fitted.intercept_.reshape(1, -1).astype("float32")


def _quality(kind: str, sums: Array, labels: Array) -> float:
    if kind == "regressor":
        return float(np.mean((sums[:, 0] - labels) ** 2))
    if kind == "binary_classifier":
        return float(np.mean(np.logaddexp(0, np.where(labels == 1, -1, 1) * sums[:, 0])))
    top = np.log(np.exp(sums - sums.max(1, keepdims=True)).sum(1)) + sums.max(1)
    return float(np.mean(top - sums[np.arange(len(labels)), labels.astype(int)]))


def artifact(kind: str, weights: Array, bias: Array, told: dict[str, str]) -> bytes:
    """``model_algo-1``."""
    more = {"threshold": 0.5, "loss_type": told.get("loss", LOSSES[kind]), "predictor_type": kind, "metrics_params": {}}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("additional-params.json", json.dumps(more))
        manifest = {"additional-params.json": "json", "mx-mod": "mxnet_module", "version": 1}
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("mx-mod-symbol.json", json.dumps(symbol(kind, weights.shape)))
        archive.writestr("mx-mod-0000.params", params({"arg:fc0_weight": weights, "arg:fc0_bias": bias}))
    return made.getvalue()


def symbol(kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """As in artifacts that were made on AWS and that people have published."""
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "fc0_weight", "attrs": {"__shape__": str(shape)}, "inputs": []},
        {"op": "dot", "name": "dot32", "inputs": [[0, 0, 0], [1, 0, 0]]},
        {
            "op": "null",
            "name": "fc0_bias",
            "attrs": {"__lr_mult__": "10.0", "__shape__": f"(1, {shape[1]})"},
            "inputs": [],
        },
        {"op": "broadcast_add", "name": "broadcast_plus32", "inputs": [[2, 0, 0], [3, 0, 0]]},
        {"op": "null", "name": "out_label", "inputs": []},
        {"op": OUTPUTS[kind], "name": f"{OUTPUTS[kind].lower()}32", "inputs": [[4, 0, 0], [5, 0, 0]]},
    ]
    return {
        "nodes": nodes,
        "arg_nodes": [0, 1, 3, 5],
        "node_row_ptr": list(range(8)),
        "heads": [[6, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10301]},
    }


def params(arrays: dict[str, Array]) -> bytes:
    """As ``mxnet.nd.save`` writes arrays of 32-bit floats."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        parts.append(struct.pack("<Iii", 0xF993FAC9, 0, array.ndim))
        parts.append(struct.pack(f"<{array.ndim}q", *array.shape))
        parts.append(struct.pack("<iii", 1, 0, 0))  # in the machine's memory, number 0, float32
        parts.append(np.ascontiguousarray(array, "<f4").tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name)) + name.encode())
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))))
