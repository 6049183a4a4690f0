"""A trained model: its file, which is data and never code, and its answers.

The file is JSON, gzip-compressed where its name ends in ``.gz``: inputs with their types, parameters as arrays,
threshold, calibration, figures, what it was trained on, versions, and ``digest``: "sha256:" and the SHA-256 of the
document without it, as JSON with sorted keys and without blanks. Reading needs orjson, and no learner.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import replace_file
from whimbrel.errors import ModelDamaged
from whimbrel.prediction.model.dates import PARTS
from whimbrel.prediction.model.features import CATEGORY, NUMBER, Input, columns_of, row_reader, value_fault
from whimbrel.prediction.model.scorer import LEAF, Boosted, Calibration, Linear, Tree, compile_scorer
from whimbrel.prediction.model.unknown import Found

FORMAT = "whimbrel-model/1"
WITH_DATES = "whimbrel-model/2"  # a model that has them: to an earlier whimbrel they would be columns of their own
GZIP = b"\x1f\x8b"
LARGEST = 1 << 28  # bytes of a model file, unpacked
DEEPEST = 64  # of a tree: the compiler nests them


class Prediction(NamedTuple):
    """``score``: of the positive class, one for each class, or the value (regression). ``label``: the class's number in
    ``Model.labels``, as SageMaker's predicted_label; None for regression. ``name``: its text."""

    score: float | list[float]
    label: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures over ``rows`` rows; None where one is not defined (an AUC of one class).

    ``confusion[actual][predicted]`` counts rows.

    binary: auc, average_precision, log_loss, brier, calibration_error, accuracy, precision, recall, f1, base_rate;
    multiclass: log_loss, accuracy, macro_f1; regression: rmse, mae, r2.
    """

    kind: str
    rows: int
    values: dict[str, float | None] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()

    def __getitem__(self, name: str) -> float:
        """Raises KeyError for a figure that these rows do not have."""
        value = self.values[name]
        if value is None:
            raise KeyError(name)
        return value

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "rows": self.rows,
            "values": self.values,
            "labels": list(self.labels),
            "confusion": [list(row) for row in self.confusion],
        }


def metrics_from(found: dict[str, Any]) -> Metrics:
    return Metrics(
        found["kind"],
        found["rows"],
        dict(found["values"]),
        tuple(found["labels"]),
        tuple(tuple(row) for row in found["confusion"]),
    )


@dataclass(frozen=True)
class Model:
    """What the file states. ``score_edges`` and ``score_shares``: how scores of held-out rows are spread, for drift."""

    name: str
    version: str
    kind: str  # binary | multiclass | regression
    learner: str  # linear | boosted
    target: str
    labels: tuple[str, ...]  # of a binary model: negative, positive
    inputs: tuple[Input, ...]
    ignored: tuple[str, ...]  # attributes that an item may have beside the inputs
    parameters: Linear | Boosted
    calibration: Calibration
    threshold: float
    metrics: Metrics
    manifest: str
    as_of: str
    position: str = ""  # up to there a migration had applied everything before the data was read; "" if not known
    score_edges: tuple[float, ...] = ()
    score_shares: tuple[float, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # settings, rows, versions, importance, warnings: for people
    digest: str = ""

    def __post_init__(self) -> None:
        scorer = compile_scorer(self.kind, self.inputs, self.parameters, self.calibration)
        object.__setattr__(self, "_score", scorer)
        object.__setattr__(self, "_read", row_reader(self.inputs, self.ignored))
        if not self.digest:
            object.__setattr__(self, "digest", digest(self.as_dict()))

    @property
    def columns(self) -> list[str]:
        """The columns of a row that is a list, in order; not one for each input where an input is part of a date."""
        return columns_of(self.inputs)

    def predict(self, rows: Sequence[Any], unknown: list[Found] | None = None) -> list[Prediction]:
        """One answer a row, in order. A row is a list in the order of the inputs, or a dict by name.

        ``unknown`` gets the column and the value of each category that training never saw, which counts as "other".
        Raises RowError naming the row and the column of the first fault.
        """
        answer, scores = self._answer, self.scores(rows, unknown)
        return [answer(score) for score in scores]

    def scores(self, rows: Iterable[Any], unknown: list[Found] | None = None) -> list[Any]:
        """Only the scores of ``predict``."""
        read, score = self._read, self._score  # type: ignore[attr-defined]
        found = []
        for number, row in enumerate(rows):
            values = read(row, number)
            try:
                found.append(score(values, unknown))
            except (ValueError, TypeError, OverflowError):
                raise value_fault(self.inputs, values, number) from None
        return found

    def _answer(self, score: Any) -> Prediction:
        if self.kind == "regression":
            return Prediction(score, None, None)
        label = int(score >= self.threshold) if self.kind == "binary" else score.index(max(score))
        return Prediction(score, label, self.labels[label])

    def as_dict(self) -> dict[str, Any]:
        """The document, without its digest."""
        return {
            "format": WITH_DATES if any(each.part for each in self.inputs) else FORMAT,
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "learner": self.learner,
            "target": self.target,
            "labels": list(self.labels),
            "inputs": [_input_dict(each) for each in self.inputs],
            "ignored": list(self.ignored),
            "parameters": self.parameters.as_dict(),
            "calibration": self.calibration.as_dict(),
            "threshold": self.threshold,
            "metrics": self.metrics.as_dict(),
            "trained_on": {"manifest": self.manifest, "as_of": self.as_of} | self._up_to(),
            "scores": {"edges": self.score_edges, "shares": self.score_shares},
            "facts": self.facts,
        }

    def _up_to(self) -> dict[str, str]:
        return {"position": self.position} if self.position else {}


def digest(document: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def save_model(model: Model, path: Path) -> None:
    """Write the file durably: a reader sees the whole file or none. Raises OSError."""
    document = model.as_dict()
    data = orjson.dumps({"digest": digest(document)} | document, option=orjson.OPT_APPEND_NEWLINE)
    replace_file(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def load_model(path: Path) -> Model:
    """Read and check the file. Raises ModelDamaged when it is not a whole model file of ours."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise _damaged(str(path), "it is larger than a model may be")
        return read_model(data, str(path))
    except OSError as error:
        raise _damaged(str(path), f"it cannot be read: {error.strerror}") from None


def read_model(data: bytes, place: str = "model file") -> Model:
    """A model from the content of its file. Raises ModelDamaged."""
    document = _document(data, place)
    stated = document.pop("digest", None)
    if document.get("format") not in (FORMAT, WITH_DATES):
        raise _damaged(place, f"its format is {document.get('format')!r}, not {FORMAT!r} or {WITH_DATES!r}")
    found = digest(document)
    if stated != found:
        raise _damaged(place, f"its digest is {stated!r}, but its content has {found!r}")
    try:
        return _model(document, found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _damaged(place, f"its content is inconsistent: {error!r}") from None


def _document(data: bytes, place: str) -> dict[str, Any]:
    try:
        if data.startswith(GZIP):
            unpack = zlib.decompressobj(wbits=31)
            data = unpack.decompress(data, LARGEST)
            if unpack.unconsumed_tail or not unpack.eof:
                raise _damaged(place, "it is cut off, or larger than a model may be")
        document = orjson.loads(data)
    except (orjson.JSONDecodeError, zlib.error) as error:
        raise _damaged(place, f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _damaged(place, "it is not a JSON object")
    return document


def _model(found: dict[str, Any], stated: str) -> Model:
    inputs = tuple(_read_input(each) for each in found["inputs"])
    _require(len(inputs) > 0 and len({each.name for each in inputs}) == len(inputs), "inputs")
    whole = [each.column for each in inputs if not each.part]
    _require(len(whole) + len({each.column for each in inputs if each.part}) == len(columns_of(inputs)), "columns")
    _require(found["kind"] in ("binary", "multiclass", "regression"), "kind")
    labels = tuple(map(_text, found["labels"]))
    wanted = {"binary": len(labels) == 2, "multiclass": len(labels) > 2, "regression": not labels}
    _require(wanted[found["kind"]], "labels")
    outputs = len(labels) if found["kind"] == "multiclass" else 1
    _require(found["learner"] in ("linear", "boosted"), "learner")
    read: Callable[..., Linear | Boosted] = _read_linear if found["learner"] == "linear" else _read_boosted
    return Model(
        name=_text(found["name"]),
        version=_text(found["version"]),
        kind=found["kind"],
        learner=found["learner"],
        target=_text(found["target"]),
        labels=labels,
        inputs=inputs,
        ignored=tuple(map(_text, found["ignored"])),
        parameters=read(found["parameters"], inputs, outputs),
        calibration=_read_calibration(found["calibration"]),
        threshold=_number(found["threshold"]),
        metrics=metrics_from(found["metrics"]),
        manifest=_text(found["trained_on"]["manifest"]),
        as_of=_text(found["trained_on"]["as_of"]),
        position=_text(found["trained_on"].get("position", "")),
        score_edges=_numbers(found["scores"]["edges"]),
        score_shares=_numbers(found["scores"]["shares"]),
        facts=found["facts"],
        digest=stated,
    )


def _input_dict(each: Input) -> dict[str, Any]:
    shared = {"name": each.name, "type": each.type, "missing": "a place of its own", "shares": each.shares}
    if each.type == CATEGORY:
        return shared | {"categories": each.categories} | ({"rare": each.rare} if each.rare else {})
    numbers: dict[str, Any] = {"edges": each.edges, "low": each.low, "high": each.high}
    numbers |= {"mean": each.mean, "scale": each.scale}
    if each.seen:
        numbers["seen"] = each.seen
    return shared | numbers | ({"source": each.source, "part": each.part} if each.part else {})


def _read_input(found: dict[str, Any]) -> Input:
    name, shares = _text(found["name"]), _numbers(found["shares"])
    if found["type"] == CATEGORY:
        categories, rare = (tuple(map(_text, found.get(key, ()))) for key in ("categories", "rare"))
        each = Input(name, CATEGORY, categories=categories, shares=shares, rare=rare)
    else:
        _require(found["type"] == NUMBER, "type")
        each = Input(
            name,
            NUMBER,
            edges=_numbers(found["edges"]),
            low=_number(found["low"]),
            high=_number(found["high"]),
            mean=_number(found["mean"]),
            scale=_number(found["scale"]),
            shares=shares,
            seen=_range(found["seen"]) if "seen" in found else None,
            source=_text(found.get("source", "")),
            part=_text(found.get("part", "")),
        )
        _require(bool(each.source) == bool(each.part) and each.part in ("", *PARTS), f"the part of {name!r}")
        _require(_rising(each.edges) and each.low <= each.high and each.scale != 0, f"the bins of {name!r}")
    _require(len(shares) in (0, each.places), f"the shares of {name!r}")
    return each


def _read_linear(found: dict[str, Any], inputs: Sequence[Input], outputs: int) -> Linear:
    linear = Linear(
        _number(found["strength"]),
        _numbers(found["intercept"]),
        tuple(_numbers(weights) for weights in found["scaled"]),
        tuple(tuple(_numbers(place) for place in places) for places in found["places"]),
    )
    _require(linear.outputs == outputs, "intercept")
    for each, scaled, places in zip(inputs, linear.scaled, linear.places, strict=True):
        _require(len(scaled) == (outputs if each.type == NUMBER else 0), f"the slope of {each.name!r}")
        _require(len(places) == each.places and all(len(place) == outputs for place in places), f"{each.name!r}")
    return linear


def _read_boosted(found: dict[str, Any], inputs: Sequence[Input], outputs: int) -> Boosted:
    trees = tuple(_read_tree(each, len(inputs), outputs) for each in found["trees"])
    boosted = Boosted(int(found["leaves"]), _numbers(found["baseline"]), trees)
    _require(boosted.outputs == outputs, "baseline")
    return boosted


def _read_tree(found: dict[str, Any], inputs: int, outputs: int) -> Tree:
    """Every node but the root is the child of one node that stands before it, so the walk ends and meets each once."""
    tree = Tree(
        found["output"],
        _wholes(found["feature"]),
        _numbers(found["threshold"]),
        _wholes(found["left"]),
        _wholes(found["right"]),
        tuple(map(bool, found["missing_left"])),
        _numbers(found["value"]),
    )
    _require(tree.output in range(outputs) and len(tree.feature) > 0, "a tree")
    nodes = zip(tree.feature, tree.threshold, tree.left, tree.right, tree.missing_left, tree.value, strict=True)
    depth, parents = [0] * len(tree.feature), [0] * len(tree.feature)
    for node, (feature, _, left, right, _, _) in enumerate(nodes):
        _require(LEAF <= feature < inputs and depth[node] < DEEPEST and parents[node] == (node > 0), "a tree's node")
        for child in () if feature == LEAF else (left, right):
            _require(node < child < len(parents), "a tree's branch")
            parents[child] += 1
            depth[child] = depth[node] + 1
    return tree


def _read_calibration(found: dict[str, Any]) -> Calibration:
    if found["method"] == "isotonic":
        margins, scores = _numbers(found["margins"]), _numbers(found["scores"])
        _require(len(margins) == len(scores) > 0 and _rising(margins), "calibration")
        return Calibration("isotonic", margins=margins, scores=scores)
    _require(found["method"] in ("none", "sigmoid"), "calibration")
    return Calibration(found["method"], _number(found["slope"]), _number(found["offset"]))


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(what)


def _text(value: Any) -> str:
    _require(isinstance(value, str), f"{value!r} is not a string")
    return sys.intern(value)


def _number(value: Any) -> float:
    _require(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value), repr(value))
    return float(value)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(_number, values))


def _wholes(values: Any) -> tuple[int, ...]:
    _require(all(type(value) is int for value in values), "whole numbers")
    return tuple(values)


def _range(found: Any) -> tuple[float, float]:
    low, high = _numbers(found)
    _require(low <= high, "a range")
    return low, high


def _rising(values: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(values))


def _damaged(place: str, message: str) -> ModelDamaged:
    return ModelDamaged(message, place=place, hint="Train it again, or take another version.")
