"""Predictions to response bodies: which format the caller takes, and the answer in it, made part by part.

A prediction has, in this order, ``score`` (the positive class's, one for each class, or the value), ``predicted_label``
(the class's number, as linear-learner has it; not for a regression), and, where there are more than two classes,
``predicted_class`` (its name). text/csv has the same in a line; RecordIO has numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from whimbrel.prediction.model.model import Prediction
from whimbrel.prediction.serve import recordio
from whimbrel.prediction.serve.bodies import CSV, JSON, JSON_LINES, RECORDIO, BodyError

_GIVEN = {kind: kind for kind in (JSON, JSON_LINES, RECORDIO, CSV)}
_GIVEN |= {"*/*": JSON, "application/*": JSON, "text/*": CSV}
_GIVEN |= {"application/x-jsonlines": JSON_LINES, "application/x-ndjson": JSON_LINES}
_MOST_CLASSES = 1_000  # bytes of their names in a header


def accepted(accept: str, content_type: str) -> str:
    """The content type of the answer. Raises BodyError (406) when none of those asked for can be given."""
    if not accept or accept == "*/*":
        return JSON_LINES if "jsonlines" in content_type else JSON
    if found := _GIVEN.get(accept):
        return found
    best, kind = 0.0, ""
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        quality = _quality(parameters)
        if name in _GIVEN and quality > best:
            best, kind = quality, _GIVEN[name]
    if not kind:
        known = f"{JSON}, {JSON_LINES}, {CSV} or {RECORDIO}"
        raise BodyError(f"an answer as {accept[:80]!r} is not supported: accept {known}", 406)
    return kind


def part(predictions: Sequence[Prediction], kind: str) -> bytes:
    """Some of the predictions, in their order, for ``whole``."""
    if kind == JSON:
        return orjson.dumps([_as_dict(each) for each in predictions])[1:-1]
    if kind == JSON_LINES:
        return b"".join(orjson.dumps(_as_dict(each)) + b"\n" for each in predictions)
    if kind == CSV:
        return "".join(map(_line, predictions)).encode()
    return recordio.write([_tensors(each) for each in predictions])


def whole(parts: Sequence[bytes], kind: str) -> bytes:
    """The answer's body from its parts; ``parts`` is not empty."""
    if kind == JSON:
        return b'{"predictions":[' + (parts[0] if len(parts) == 1 else b",".join(parts)) + b"]}"
    return parts[0] if len(parts) == 1 else b"".join(parts)


def classes_header(labels: Sequence[str]) -> str:
    """The classes in the order of their scores and numbers, percent-encoded, as a line; "" for a regression."""
    if not labels:
        return ""
    line = f"x-whimbrel-classes: {quote(labels[0][:100], safe=' ')}"
    for number, label in enumerate(labels[1:], 1):
        name = quote(label[:100], safe=" ")
        if len(line) + len(name) > _MOST_CLASSES:
            return f"{line}, ... ({len(labels) - number} more)\r\n"
        line += f", {name}"
    return f"{line}\r\n"


def _quality(parameters: Sequence[str]) -> float:
    """The ``q`` of a type that is accepted, from 0 (not accepted) to 1."""
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _as_dict(prediction: Prediction) -> dict[str, Any]:
    score, label, name = prediction
    if label is None:
        return {"score": score}
    if score.__class__ is list:
        return {"score": score, "predicted_label": label, "predicted_class": name}
    return {"score": score, "predicted_label": label}


def _line(prediction: Prediction) -> str:
    score, label, name = prediction
    if label is None:
        return f"{score!r}\n"
    if isinstance(score, list):
        return f"{','.join(map(repr, score))},{label},{_field(name or '')}\n"
    return f"{score!r},{label}\n"


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"\r\n') else text


def _tensors(prediction: Prediction) -> dict[str, list[float]]:
    score, label, _ = prediction
    made = {"score": score if isinstance(score, list) else [score]}
    return made if label is None else made | {"predicted_label": [float(label)]}
