"""A DynamoDB that has the items of a made-up table of sales and answers Scan alone, so that a benchmark measures the
reader.

``python -m benchmarks.scanned ROWS SHAPE`` prints the port that it listens on (127.0.0.1) and runs until its input
ends. An answer is made once for each request, and kept, up to a gigabyte of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.null_sink import NullSink, Served, answer, in_its_own_process, serve

LINES = 5  # rows of an order
ORDERS = 8  # of a customer
MOST_KEPT = 1 << 30  # bytes of answers


def create(rows: int) -> list[str]:
    """The statements that make the table ``sale`` with so many rows, in the current database."""
    digits = " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10))
    places = range(len(str(rows - 1)))
    number = " + ".join(f"d{place}.n * {10**place}" for place in places)
    tables = ", ".join(f"({digits}) d{place}" for place in places)
    table = (
        "CREATE TABLE sale (customerid VARCHAR(32), orderid VARCHAR(32), productid VARCHAR(32), quantity INT NOT NULL, "
        "price DECIMAL(10, 2) NOT NULL, sold DATETIME NOT NULL, note VARCHAR(60), "
        "PRIMARY KEY (customerid, orderid, productid))"
    )
    fill = (
        f"INSERT INTO sale SELECT CONCAT('customer', LPAD(FLOOR(x / {ORDERS * LINES}), 8, '0')), "
        f"CONCAT('order', LPAD(FLOOR(x / {LINES}), 10, '0')), CONCAT('product', LPAD(x MOD 1000, 5, '0')), x MOD 97, "
        "(x MOD 10000) / 100, '2026-01-02 03:04:05' + INTERVAL (x MOD 1000) SECOND, "
        f"IF(x MOD 3, CONCAT('to be sent with order ', FLOOR(x / {LINES})), NULL) "
        f"FROM (SELECT {number} AS x FROM {tables}) numbers WHERE x < {rows}"
    )
    return ["SET SESSION sql_log_bin = 0", table, fill, "ANALYZE TABLE sale"]


def record(number: int) -> dict[str, Any]:
    """The item of row ``number``, as DynamoDB would give it back."""
    order, seconds = number // LINES, number % 1000
    return {
        "sale": {"S": f"customer{number // (ORDERS * LINES):08}|order{order:010}"},
        "productid": {"S": f"product{number % 1000:05}"},
        "quantity": {"N": str(number % 97)},
        "price": {"N": f"{number % 10_000 / 100:g}"},
        "sold": {"S": f"2026-01-02T03:{4 + (5 + seconds) // 60:02}:{(5 + seconds) % 60:02}"},
        "note": {"S": f"to be sent with order {order}"} if number % 3 else {"NULL": True},
    }


def group(number: int) -> dict[str, Any]:
    """The item of order ``number``."""
    item = {"customerid": {"S": f"customer{number // ORDERS:08}"}, "orderid": {"S": f"order{number:010}"}}
    lines = range(number * LINES, (number + 1) * LINES)
    return item | {f"product{line % 1000:05}": {"N": str(line % 97)} for line in lines}


class _Shape:
    def __init__(self, name: str, rows: int) -> None:
        self.item: Callable[[int], dict[str, Any]] = record if name == "record" else group
        self.key = ("sale", "productid") if name == "record" else ("customerid", "orderid")
        self.items = rows if name == "record" else rows // LINES

    def place(self, key: dict[str, Any]) -> int:
        """The number of the item with ``key``."""
        if "orderid" in key:
            return int(key["orderid"]["S"].removeprefix("order"))
        order = int(key["sale"]["S"].partition("|order")[2])
        return order * LINES + int(key["productid"]["S"].removeprefix("product")) % LINES


def scan_answer(shape: _Shape, body: bytes) -> bytes:
    asked = json.loads(body)
    segment, segments = asked.get("Segment", 0), asked.get("TotalSegments", 1)
    first, end = (shape.items * each // segments for each in (segment, segment + 1))
    if "ExclusiveStartKey" in asked:
        first = shape.place(asked["ExclusiveStartKey"]) + 1
    last = min(end, first + min(asked.get("Limit", 5_000), 5_000))
    items = [shape.item(number) for number in range(first, last)]
    found: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
    found["ConsumedCapacity"] = {"TableName": asked["TableName"], "CapacityUnits": 1.0}
    if last < end:
        found["LastEvaluatedKey"] = {name: items[-1][name] for name in shape.key}
    return answer(json.dumps(found, separators=(",", ":")).encode())


class Scanned(NullSink):
    """Answers each request, and keeps what it made as long as that is not too much."""

    kept_bytes = 0

    def __init__(self, shape: _Shape, kept: dict[bytes, bytes]) -> None:
        self._shape, self._kept = shape, kept

    def answer(self, head: bytes, body: bytes) -> bytes:
        made = self._kept.get(body)
        if made is None:
            made = scan_answer(self._shape, body)
            if Scanned.kept_bytes < MOST_KEPT:
                Scanned.kept_bytes += len(made)
                self._kept[body] = made
        return made


def scanned(rows: int, shape: str) -> AbstractContextManager[Served]:
    """Run a server in its own process."""
    return in_its_own_process("benchmarks.scanned", str(rows), shape)


def main(rows: int, shape: str) -> None:
    kept: dict[bytes, bytes] = {}
    asyncio.run(serve(lambda: Scanned(_Shape(shape, rows), kept)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
