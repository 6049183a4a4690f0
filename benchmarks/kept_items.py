"""A DynamoDB with one table, in memory: it answers DescribeTable, Scan and BatchWriteItem with puts, so quickly that a
benchmark of hundreds of thousands of items does not wait for it.

``python -m benchmarks.kept_items TABLE KEY…`` prints the port that it listens on (127.0.0.1) and runs until its input
ends. The key's attributes are strings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvloop

from benchmarks.null_sink import NullSink, answer, in_its_own_process, serve

PAGE_BYTES = 1 << 20


class Table:
    def __init__(self, name: str, key: tuple[str, ...]) -> None:
        self._name, self._key = name, key
        self._places: dict[bytes, int] = {}  # by the item's key
        self._items: list[bytes] = []
        self._used = orjson.dumps({"TableName": name, "CapacityUnits": 1.0})
        self.does: dict[str, Callable[[Any], bytes]] = {
            "DescribeTable": self.describe,
            "Scan": self.scan,
            "BatchWriteItem": self.write,
        }

    def describe(self, _: Any) -> bytes:
        roles = zip(self._key, ("HASH", "RANGE"), strict=False)
        return orjson.dumps(
            {
                "Table": {
                    "TableName": self._name,
                    "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{self._name}",
                    "TableId": "kept-items",
                    "TableStatus": "ACTIVE",
                    "CreationDateTime": 1.0,
                    "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in self._key],
                    "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in roles],
                    "ItemCount": len(self._items),
                    "TableSizeBytes": sum(map(len, self._items)),
                }
            }
        )

    def write(self, asked: Any) -> bytes:
        for each in asked["RequestItems"][self._name]:
            item = each["PutRequest"]["Item"]
            place = self._places.setdefault(self._identity(item), len(self._items))
            self._items[place : place + 1] = [orjson.dumps(item)]
        return b'{"UnprocessedItems":{}}'

    def scan(self, asked: Any) -> bytes:
        segment, segments = asked.get("Segment", 0), asked.get("TotalSegments", 1)
        first, end = (len(self._items) * each // segments for each in (segment, segment + 1))
        if after := asked.get("ExclusiveStartKey"):
            first = self._places[self._identity(after)] + 1
        most, last, size = min(end, first + asked.get("Limit", end)), first, 0
        while last < most and size < PAGE_BYTES:
            size += len(self._items[last])
            last += 1
        more = b""
        if last < end:
            item = orjson.loads(self._items[last - 1])
            more = b',"LastEvaluatedKey":' + orjson.dumps({name: item[name] for name in self._key})
        found = b",".join(self._items[first:last])
        return b'{"Items":[%b],"Count":%d,"ScannedCount":%d,"ConsumedCapacity":%b%b}' % (
            found,
            last - first,
            last - first,
            self._used,
            more,
        )

    def _identity(self, item: Any) -> bytes:
        return orjson.dumps([item[name] for name in self._key])


class KeptItems(NullSink):
    def __init__(self, table: Table) -> None:
        self._table = table

    def answer(self, head: bytes, body: bytes) -> bytes:
        operation = head.lower().partition(b"x-amz-target: dynamodb_20120810.")[2].partition(b"\r\n")[0]
        does = {name.lower().encode(): do for name, do in self._table.does.items()}
        return answer(does[operation](orjson.loads(body)))


@contextmanager
def kept_items(table: str, *key: str) -> Iterator[str]:
    """Run a server in its own process; gives its endpoint URL."""
    with in_its_own_process("benchmarks.kept_items", table, *key) as served:
        yield served.url


def main(name: str, *key: str) -> None:
    table = Table(name, key)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(lambda: KeptItems(table)))


if __name__ == "__main__":
    main(*sys.argv[1:])
