"""Captured calls are read as they were written, and only those of the version that is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.prediction.serve.models import ROW, model_file
from tests.prediction.serve.test_recordio import DENSE
from whimbrel.errors import StateError
from whimbrel.prediction.model.model import Model, load_model
from whimbrel.prediction.serve.bodies import RECORDIO
from whimbrel.prediction.serve.captured_calls import captured_drift
from whimbrel.prediction.serve.data_capture import CallWriter, CapturedCall, line
from whimbrel.prediction.serve.recordio import write as write_records
from whimbrel.prediction.serve.registry import DataCapture

JSON = "application/json"
LINES = "application/jsonlines"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(model_file(tmp_path, "v1"))


def captured(
    kind: str, body: str | bytes, output: str | bytes, output_type: str = JSON, version: str = "v1", at: float = 0
) -> bytes:
    data, said = (each.encode() if isinstance(each, str) else each for each in (body, output))
    call = CapturedCall("E", "A", version, at, "id", "", "", kind, data, output_type, said)
    return line(DataCapture(100, ""), call)


def write(folder: Path, *lines: bytes) -> None:
    place = folder / "A/2026/01/31/12"
    place.mkdir(parents=True)
    (place / "00-00-000-x.jsonl").write_bytes(b"".join(lines))


def test_a_file_that_cannot_be_written_is_closed(tmp_path: Path) -> None:
    writer = CallWriter()
    plan, call = DataCapture(100, str(tmp_path)), CapturedCall("E", "A", "v1", 0, "id", "", "", JSON, b"1", JSON, b"2")
    made = writer._file((str(tmp_path), "E/A", "1970/01/01/00"))
    made.close()
    made._file = full = io.FileIO("/dev/full", "a")
    writer.keep(plan, call)
    writer.close()
    assert (writer.kept, writer.dropped) == (0, 1)
    assert full.closed


ONE = '{"predictions": [{"score": 0.5, "predicted_label": 1}]}'


def test_every_form_of_a_call_is_read(model: Model, tmp_path: Path) -> None:
    write(
        tmp_path / "E",
        captured("text/csv", f"{ROW}\n{ROW}", '{"predictions": [{"score": 0.1}, {"score": 0.2}]}'),
        captured("text/csv; charset=utf-8", ROW, '{"score": 0.5}\n', LINES),
        captured(JSON, '{"instances": [{"features": [34, "retired", null, null]}]}', ONE),
        captured(RECORDIO, DENSE, write_records([{"score": [0.75], "predicted_label": [1.0]}]), RECORDIO),
        captured("text/csv", "1,2,3,4,5,6,7,8,9", ONE),  # it does not take this
        captured("text/csv", b"\xff", ONE),  # nor this: no UTF-8
        captured("text/csv", ROW, ONE, version="v0"),
        b'{"captureData": {"endpointIn',  # still being written
    )
    found = captured_drift(model, tmp_path / "E")
    assert (found.rows, found.refused) == (5, 2)
    assert {each.input: each.missing for each in found.inputs} == {"age": 0, "job": 0, "pdays": 0.2, "euribor3m": 0.2}


def test_only_calls_since_a_time(model: Model, tmp_path: Path) -> None:
    write(tmp_path / "E", *(captured("text/csv", ROW, ONE, at=at) for at in (0, 60, 120)))
    assert captured_drift(model, tmp_path / "E", "1970-01-01T00:01:00Z").rows == 2


def test_nothing_captured_is_no_rows(model: Model, tmp_path: Path) -> None:
    assert captured_drift(model, tmp_path / "E").rows == 0


def test_a_file_that_is_none_is_named(model: Model, tmp_path: Path) -> None:
    write(tmp_path / "E", captured("text/csv", ROW, ONE), b"{}\n")
    with pytest.raises(StateError, match="line 2 is not a captured call"):
        captured_drift(model, tmp_path / "E")
