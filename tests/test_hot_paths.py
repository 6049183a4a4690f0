"""How many calls of Python and C functions the hot paths make for one row, change, item or request.

Counts and not times: they are the same on every machine, however busy. One that grows by a tenth fails here; whoever
has a reason for it changes the number. In a process of its own, whose calls no other test's imports or caches change.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import apply
from benchmarks.load import item, key
from benchmarks.null_sink import null_sink
from tests.binlog.recorded import load
from tests.binlog.test_recorded import Replica
from whimbrel.changelog.files import ChangeLogReader
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import Target
from whimbrel.records import Put, Update

CALLS = {
    "binlog: a row": 220.0,
    "change log: a change written": 13.6,
    "change log: a change read": 17.5,
    "mapping: a row of a record": 2.0,
    "mapping: a row of a group": 3.6,
    "fold: a change of a record": 7.4,
    "fold: a change of a group": 13.9,
    "write: an item of a batch": 7.6,
    "write: an update": 130.0,
    "apply: a change of a record": 39.3,
    "apply: a change of a group": 161.4,
}
MAY_GROW = 1.1
FEW, MANY = 200, 600  # what is done once, whatever the number, is in neither figure


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "tests.test_hot_paths"], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("path", CALLS)
def test_a_hot_path_makes_no_more_calls(counted: dict[str, float], path: str) -> None:
    assert counted[path] <= CALLS[path] * MAY_GROW
    if sys.version_info[:2] == (3, 11):  # later ones make fewer: then the figure would guard nothing
        assert counted[path] >= CALLS[path] / MAY_GROW, "it has become faster: say so in CALLS"


def calls(do: Callable[[], object]) -> int:
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def of_one(make: Callable[[int], Callable[[], object]]) -> float:
    """``make`` gives what to do so many times; what it prepares is not counted."""
    make(FEW)()  # fills caches
    few, many = make(FEW), make(MANY)
    return round((calls(many) - calls(few)) / (MANY - FEW), 1)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, null_sink() as endpoint:
        found = in_memory() | in_files(Path(name)) | over_the_wire(Path(name), endpoint)
    print(json.dumps(found))


def in_memory() -> dict[str, float]:
    recording = load("mariadb-history-gtid")
    read = Replica(recording)
    count = calls(read.read)
    rows = sum(len(output) for output in read.outputs if isinstance(output, list))
    found = {"binlog: a row": round(count / rows, 1)}
    changes = list(apply.changes(MANY))
    rows_of = [change.after or change.before or () for change in changes]
    for shape, rule in (("record", apply.RECORD), ("group", apply.GROUP)):
        mapping = compile_mapping(rule, apply.TABLE)
        for what, do, some in (("row", mapping.put_items, rows_of), ("change", mapping.fold, changes)):
            name = f"{'mapping' if what == 'row' else 'fold'}: a {what} of a {shape}"
            found[name] = of_one(partial(_some_of, do, some))
    return found


def _some_of(do: Callable[[Any], object], some: list[Any], count: int) -> Callable[[], object]:
    return partial(do, some[:count])


def in_files(folder: Path) -> dict[str, float]:
    number = 0

    def write(count: int) -> Callable[[], object]:
        nonlocal number
        number += 1
        changes, log = list(apply.changes(count)), folder / f"log{number}"
        return partial(apply.write_log, log, iter(changes))

    def read(count: int) -> Callable[[], object]:
        nonlocal number
        number += 1
        apply.write_log(folder / f"log{number}", apply.changes(count))
        reader = ChangeLogReader(folder / f"log{number}", None)
        return partial(reader.read, 2 * count)

    return {"change log: a change written": of_one(write), "change log: a change read": of_one(read)}


def over_the_wire(folder: Path, endpoint: str) -> dict[str, float]:
    """One call after the other: how many answers are there when the loop looks depends on the machine."""
    target = Target(endpoint=endpoint, region="us-east-1", concurrency=1)
    wire = DynamoClient(target)
    writer = Writer(wire, target)
    puts = [Put("orders", key(number), item(number)) for number in range(MANY)]
    updates = [Update("orders", put.key, {"a": {"N": "7"}}, ("b",), frozenset(put.key)) for put in puts]
    found = {
        "write: an item of a batch": of_one(lambda n: partial(writer.write, puts[:n])),
        "write: an update": of_one(lambda n: partial(writer.write, updates[:n])),
    }
    wire.close()
    for shape, rule in (("record", apply.RECORD), ("group", apply.GROUP)):

        def made(count: int, rule: Any = rule, shape: str = shape) -> Callable[[], object]:
            place = folder / f"{shape}{count}"
            if not place.exists():
                apply.write_log(place / "log", apply.changes(count))
            return partial(apply.apply, place, rule, target)

        found[f"apply: a change of a {shape}"] = of_one(made)
    return found


if __name__ == "__main__":
    main()
