"""A sender and a function as the AWS post "Near zero downtime migration from MySQL to DynamoDB" has them, written anew
for Python 3: one JSON event a row under one partition key; the function adds an attribute to the item for an INSERT.
"""

from __future__ import annotations

import contextlib
import json
from base64 import b64decode
from typing import Any

from demo.event_source import Event

HASH, RANGE, NAME, VALUE = "customerid", "orderid", "productid", "quantity"


class PeerSender:
    def __init__(self, kinesis: Any, stream: str) -> None:
        self._kinesis, self._stream = kinesis, stream

    def send(self, kind: str, row: dict[str, Any]) -> None:
        """``row`` is as python-mysql-replication gives it."""
        event = {"schema": "shop", "table": "purchase", "type": kind, "row": row}
        self._kinesis.put_record(StreamName=self._stream, Data=json.dumps(event), PartitionKey="default")


class PeerFunction:
    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb, self._table = dynamodb, table

    def __call__(self, event: Event) -> str:
        for record in event["Records"]:
            fields = json.loads(b64decode(record["kinesis"]["data"]))
            if fields["type"] == "WriteRowsEvent":
                with contextlib.suppress(Exception):  # it prints them
                    self._add(fields["row"]["values"])
        return f"{len(event['Records'])} records"

    def _add(self, values: dict[str, Any]) -> None:
        key = {HASH: {"S": values[HASH]}, RANGE: {"S": values[RANGE]}}
        found = self._dynamodb.get_item(TableName=self._table, Key=key).get("Item", key)
        self._dynamodb.put_item(TableName=self._table, Item=found | {values[NAME]: {"S": str(values[VALUE])}})
