"""``python -m tests.prediction.serve.heavy``: for bodies that grow most in memory, a line of JSON each:
its name, the peak of memory that answering it took, in bytes, and what was counted for it before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tests.prediction.serve.models import ROW, model
from tests.prediction.serve.test_recordio import DENSE, TYPE, floats, frame, record
from whimbrel.prediction.serve.served import Call, Served
from whimbrel.prediction.serve.server import _return_memory
from whimbrel.prediction.serve.work import work

SIZE = 1 << 19
JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
UNITS = {
    "empty lists": "[]",
    "empty objects": "{}",
    "objects of one": '{"":0}',
    "objects in objects": '{"":{"":0}}',
    "deep objects": '{"":' * 900 + "0" + "}" * 900,
    "deep lists": "[" * 900 + "]" * 900,
    "lists of one": "[0]",
    "numbers": "300",
    "decimals": "1.5",
    "texts": '"ab"',
    "wide texts": '"a😀"',
    "rows": '[1,"",1,1]',
    "rows by name": '{"age":1,"job":"retired"}',
}
SHORTEST_ROWS = (
    "empty objects",
    "a split",
    "a column",
    "short lines",
    "empty fields",
)  # those whose answers are the largest


def bodies() -> Iterator[tuple[str, str, bytes]]:
    for name, unit in UNITS.items():
        yield name, JSON, ("[" + ",".join([unit] * (SIZE // len(unit.encode() + b","))) + "]").encode()
    yield "different keys", JSON, ("{" + ",".join(f'"{number:x}":0' for number in range(SIZE // 10)) + "}").encode()
    rows = "[1]," * (SIZE // 4)
    yield "a split", JSON, ('{"dataframe_split":{"columns":["age"],"data":[' + rows + "[1]]}}").encode()
    yield "a column", JSON, ('{"inputs":{"age":[' + "1," * (SIZE // 2) + "1]}}").encode()
    yield "short lines", LINES, b"{}\n" * (SIZE // 3)
    yield "one line", LINES, b"[" + b'{"":0},' * (SIZE // 7) + b"0]"
    yield "empty fields", CSV, b",,,\n" * (SIZE // 4)
    yield "one row", CSV, b"ab," * (SIZE // 3)
    yield "one wide row", CSV, b"ab," * (SIZE // 3) + "😀".encode()
    yield "records", TYPE, DENSE * (SIZE // len(DENSE))
    values = floats(*[1.5] * 8)
    yield "sparse records", TYPE, frame(record(values, keys=bytes(range(8)))) * (SIZE // 64)


def peak(served: Served, content_type: str, body: bytes) -> int:
    """How far the process grows while it answers; a process of its own, since memory that was used is kept."""
    read, write = os.pipe()
    if os.fork() == 0:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what it has now
        before = memory("VmRSS")
        for _ in served.steps(Call(body, content_type, "")):
            pass
        os.write(write, str(memory("VmHWM") - before).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    with os.fdopen(read) as file:
        return int(file.read())


def memory(name: str) -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def main() -> None:
    _return_memory()
    for kind in ("binary", "multiclass"):
        served = Served("m", model(kind=kind))
        nothing = peak(served, CSV, ROW.encode())
        for name, content_type, body in bodies():
            if kind == "binary" or name in SHORTEST_ROWS:
                counted = work(body, content_type, served.model.labels)
                print(json.dumps([f"{name}, {kind}", peak(served, content_type, body) - nothing, counted]))


if __name__ == "__main__":
    main()
