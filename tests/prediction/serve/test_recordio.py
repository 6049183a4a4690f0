"""application/x-recordio-protobuf in and out. The bytes are made by hand here, as the SageMaker SDK writes them."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests.prediction.serve.conftest import Running, predictions
from tests.prediction.serve.models import model
from whimbrel.prediction.serve.recordio import BadRecord, read, read_labels, write
from whimbrel.prediction.serve.served import Call, Served

TYPE = "application/x-recordio-protobuf"
MAGIC = struct.pack("<I", 0xCED7230A)
FLOAT32, FLOAT64, INT32 = 2, 3, 7  # the numbers of the tensors in aialgs.data.Value


def block(number: int, content: bytes) -> bytes:
    """A field of wire type 2; all of them are shorter than 128 bytes here."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def record(
    values: bytes, keys: bytes = b"", shape: bytes = b"", *, kind: int = FLOAT32, name: bytes = b"values"
) -> bytes:
    tensor = block(1, values) + (block(2, keys) if keys else b"") + (block(3, shape) if shape else b"")
    return block(1, block(1, name) + block(2, block(kind, tensor)))


def frame(data: bytes, part: int = 0) -> bytes:
    return MAGIC + struct.pack("<I", part << 29 | len(data)) + data + bytes(-len(data) % 4)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


DENSE = frame(record(floats(34, 2, 999, 1.5)))
SAME = {
    "float32": DENSE,
    "float64": frame(record(struct.pack("<4d", 34, 2, 999, 1.5), kind=FLOAT64)),
    "sparse": frame(record(floats(999, 34, 1.5, 2), keys=bytes([2, 0, 3, 1]), shape=bytes([4]))),
    "with a label, which is not an input": frame(record(floats(34, 2, 999, 1.5)) + block(2, block(1, b"values"))),
}
EXPECTED = model().predict([[34, 2, 999, 1.5]])[0]


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_records_are_rows(server: Running, body: bytes) -> None:
    answer = server.invoke(body * 2, TYPE)
    assert predictions(answer) == [{"score": EXPECTED.score, "predicted_label": EXPECTED.label}] * 2


def test_whole_numbers_and_a_row_of_only_zeros() -> None:
    assert [each.values for each in read(frame(record(bytes([34, 1, 127, 2]), kind=INT32)))] == [[34, 1, 127, 2]]
    served = Served("m", model())
    sparse = served.answer(Call(frame(record(b"", shape=bytes([4]))), TYPE, "application/json"))
    zeros = served.answer(Call(b"0,0,0,0", "text/csv", ""))
    assert (sparse.status, sparse.body) == (200, zeros.body)


def test_answers_are_records_when_they_are_asked_for(server: Running) -> None:
    answer = server.invoke(DENSE, TYPE, Accept=TYPE)
    assert answer["ContentType"] == TYPE
    label = b"".join(
        block(2, block(1, name) + block(2, block(FLOAT32, block(1, floats(value)))))  # type: ignore[arg-type]
        for name, value in ((b"score", EXPECTED.score), (b"predicted_label", EXPECTED.label))
    )
    assert answer["Body"].read() == frame(label)


def test_a_record_that_has_the_magic_number_in_it_comes_in_parts() -> None:
    (value,) = struct.unpack("<f", MAGIC)
    whole = record(floats(34, value, 999, 1.5))
    before, after = whole.split(MAGIC)
    [features] = read(frame(before, part=1) + frame(after, part=3))
    assert features.values == [34, value, 999, 1.5]


WRONG: dict[str, tuple[bytes, list[str]]] = {
    "no RecordIO": (b"34,2,999,1.5", ["record 1", "RecordIO"]),
    "cut off in the second": (DENSE + DENSE[:-5], ["record 2", "cut off"]),
    "no protobuf": (frame(b"\xff\xff\xff\xff"), ["record 1", "aialgs.data.Record"]),
    "another feature": (frame(record(floats(1), name=b"age")), ["record 1", "'values'"]),
    "no tensor": (frame(block(1, block(1, b"values"))), ["record 1", "tensor"]),
    "too few values": (DENSE + frame(record(floats(34, 2))), ["row 2", "'pdays' is missing"]),
    "not finite": (frame(record(floats(float("nan"), 2, 999, 1.5))), ["row 1", "'age'"]),
    "a key beyond the shape": (frame(record(floats(1), keys=bytes([4]), shape=bytes([4]))), ["key 4"]),
    "a last part without a first": (frame(record(floats(1)), part=3), ["record 1"]),
    "a first part without a last": (frame(record(floats(1)), part=1), ["record 1", "cut off"]),
}


@pytest.mark.parametrize(("body", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_record_is_named(server: Running, body: bytes, named: list[str]) -> None:
    with pytest.raises(ClientError) as caught:
        server.invoke(body, TYPE)
    response: Any = caught.value.response
    assert response["OriginalStatusCode"] == 400
    assert [word for word in named if word not in response["OriginalMessage"]] == []


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, framed: bool) -> None:
    with suppress(BadRecord):
        for each in read(frame(data) if framed else data):
            json.dumps(each.values)


def test_scores_of_several_classes_are_one_tensor() -> None:
    made = write([{"score": [0.25, 0.5, 0.25]}, {"score": [1.0]}])
    assert floats(0.25, 0.5, 0.25) in made
    assert read_labels(made) == [{"score": [0.25, 0.5, 0.25]}, {"score": [1.0]}]
    assert len(made) % 4 == 0
