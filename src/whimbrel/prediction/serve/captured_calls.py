"""Reading captured calls again (data_capture.py has the form): the rows that were asked about, and the scores given."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from whimbrel.errors import StateError
from whimbrel.prediction.model.drift import Drift, drift
from whimbrel.prediction.model.model import Model
from whimbrel.prediction.serve import recordio
from whimbrel.prediction.serve.bodies import CSV, RECORDIO, BodyError, rows_of

_AT_ONCE = 500


def captured_drift(model: Model, folder: Path, since: str = "", *, variant: str = "") -> Drift:
    """How far the captured calls that ``model`` answered have moved from its training.

    ``folder`` is the endpoint's, below that of the capture; ``since`` is a time in UTC as 2026-01-31T12:00:00Z. Calls
    of other versions are left out. With a ``variant``, all that it answered count: SageMaker's lines do not say which
    model did, and its files are whole. One file at a time is read. Raises StateError for a file
    that is not captured data.
    """
    scores: list[Any] = []
    # The rows are read to their end before the first score is looked at, and so the scores are there by then.
    return drift(model, _rows(model, calls(folder, model.version, since, variant), scores), scores)


def _rows(model: Model, answered: Iterator[dict[str, Any]], scores: list[Any]) -> Iterator[Any]:
    """Rows as calls had them; None, which no model takes, for a body that cannot be read."""
    names = model.columns
    for call in answered:
        data = call["captureData"]
        if "endpointInput" in data:
            given = data["endpointInput"]
            try:
                for rows in rows_of(_body(given), given["observedContentType"], names, _AT_ONCE):
                    yield from rows
            except BodyError:
                yield None
        scores += _scores(data.get("endpointOutput"))


def calls(folder: Path, version: str, since: str = "", variant: str = "") -> Iterator[dict[str, Any]]:
    """The captured calls that this version answered, or this variant, file by file. Half a line at the end is not read:
    the server is writing it.
    """
    mark = f"x-whimbrel-model-version={version}"
    for path in sorted(folder.glob(f"{variant or '*'}/*/*/*/*/*.jsonl")):
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines if variant and lines[-1] else lines[:-1], 1):
            try:
                call = orjson.loads(line)
                about = call["eventMetadata"]
                if (variant or mark in about["customAttributes"]) and about["inferenceTime"] >= since:
                    yield call
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StateError(
                    f"line {number} is not a captured call: {error!r}", place=str(path), hint="Move the file away."
                ) from None


def _scores(given: dict[str, str] | None) -> list[Any]:
    if not given:
        return []
    body = _body(given)
    if given["observedContentType"] == RECORDIO:
        scores = [each["score"] for each in recordio.read_labels(body)]
        return [score if len(score) > 1 else score[0] for score in scores]
    if given["observedContentType"] == CSV:
        return [_csv_score(fields) for fields in csv.reader(io.StringIO(body.decode(), newline=""))]
    if "jsonlines" in given["observedContentType"]:
        return [orjson.loads(line)["score"] for line in body.splitlines()]
    return [each["score"] for each in orjson.loads(body).get("predictions", [])]


def _csv_score(fields: list[str]) -> Any:
    """Alone or before the label's number; of several classes each, before the number and the name of one."""
    return float(fields[0]) if len(fields) <= 2 else [float(each) for each in fields[:-2]]


def _body(given: dict[str, str]) -> bytes:
    return base64.b64decode(given["data"]) if given["encoding"] == "BASE64" else given["data"].encode()
