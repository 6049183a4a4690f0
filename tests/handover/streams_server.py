"""A small stand-in for DynamoDB whose streams survive a SIGKILL, and whose shards split and are trimmed when told to.

No local server keeps its streams through a SIGKILL, and none has more than one shard: so what the reverse stream does
then can only be tried against a stand-in. It has what these tests use of DynamoDB and nothing else, on SQLite, a write
and its record in one transaction. ``python -m tests.handover.streams_server PORT FILE`` runs it.

An item's shard is the open one whose range has the hash of its key. ``Split`` closes a shard in favour of two halves,
``Trim`` forgets what is before a sequence number; these two are calls of our own.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zlib import crc32

from tests.handover.expressions import Unknown, holds, updated

FIRST = 10**20
EVERYTHING = 2**32
PAGE = 200

SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (name TEXT PRIMARY KEY, description TEXT);
CREATE TABLE IF NOT EXISTS items (tab TEXT, place TEXT, item TEXT, PRIMARY KEY (tab, place));
CREATE TABLE IF NOT EXISTS shards (id TEXT PRIMARY KEY, tab TEXT, parent TEXT, low INT, high INT, begins INT, ends INT);
CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY AUTOINCREMENT, shard TEXT, record TEXT);
CREATE TABLE IF NOT EXISTS trimmed (shard TEXT PRIMARY KEY, before INT);
"""


class Refusal(Exception):
    """The name of the error."""


class Store:
    def __init__(self, file: str) -> None:
        self.db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")  # a killed process is survived, a power cut is not
        self.db.executescript(SCHEMA)
        self.lock = threading.Lock()

    def call(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if not hasattr(type(self), operation):
            raise Refusal("UnknownOperationException")
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                answer: dict[str, Any] = getattr(self, operation)(body)
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        if "TableName" in body and body.get("ReturnConsumedCapacity"):
            answer["ConsumedCapacity"] = {"TableName": body["TableName"], "CapacityUnits": 1.0}
        return answer

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(statement, values).fetchall()

    # -- tables and items --------------------------------------------------------------------------------------------

    def CreateTable(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = body["TableName"]
        arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}"
        about = {"TableName": name, "KeySchema": body["KeySchema"], "TableStatus": "ACTIVE", "TableArn": arn}
        about |= {"AttributeDefinitions": body["AttributeDefinitions"], "LatestStreamArn": f"{arn}/stream/2026"}
        about |= {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
        about |= {"TableId": f"{crc32(name.encode()):032}", "ItemCount": 0}
        if self.rows("SELECT 1 FROM tables WHERE name = ?", name):
            raise Refusal("ResourceInUseException")
        self.rows("INSERT INTO tables VALUES (?, ?)", name, json.dumps(about))
        self._new_shard(name, "", 0, EVERYTHING)
        return {"TableDescription": about}

    def DescribeTable(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Table": self._table(body["TableName"])}

    def PutItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._write(body, self._key(body["TableName"], body["Item"]), body["Item"])
        return {}

    def DeleteItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._write(body, body["Key"], None)
        return {}

    def UpdateItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        new = updated(body, self._item(body["TableName"], body["Key"]))
        self._write(body, body["Key"], new)
        return {"Attributes": new} if body.get("ReturnValues") == "ALL_NEW" else {}

    def BatchWriteItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for name, requests in body["RequestItems"].items():
            for each in requests:
                [(kind, one)] = each.items()
                getattr(self, kind.replace("Request", "Item"))({"TableName": name} | one)
        capacity = [{"TableName": name, "CapacityUnits": 1.0} for name in body["RequestItems"]]
        return {"UnprocessedItems": {}, "ConsumedCapacity": capacity}

    def GetItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        item = self._item(body["TableName"], body["Key"])
        return {"Item": item} if item else {}

    def Query(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        items = self._items(body["TableName"])
        found = [item for item in items if holds(body, item, "KeyConditionExpression")]
        if "FilterExpression" in body:
            found = [item for item in found if holds(body, item, "FilterExpression")]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def TransactWriteItems(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for each in body["TransactItems"]:
            [(kind, one)] = each.items()
            getattr(self, f"{kind}Item")(one)
        return {}

    def BatchGetItem(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        [(name, asked)] = body["RequestItems"].items()
        found = [self._item(name, key) for key in asked["Keys"]]
        capacity = [{"TableName": name, "CapacityUnits": 1.0}]
        return {
            "Responses": {name: [item for item in found if item]},
            "UnprocessedKeys": {},
            "ConsumedCapacity": capacity,
        }

    def Scan(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """All in one page, by the first segment."""
        items = [] if body.get("Segment") else self._items(body["TableName"])
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def _write(self, body: dict[str, Any], key: dict[str, Any], new: dict[str, Any] | None) -> None:
        name = body["TableName"]
        old = self._item(name, key)
        if "ConditionExpression" in body and not holds(body, old):
            raise Refusal("ConditionalCheckFailedException")
        place = _place(key)
        if new is None:
            self.rows("DELETE FROM items WHERE tab = ? AND place = ?", name, place)
        else:
            self.rows("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", name, place, json.dumps(new))
        if old != new:  # a write that changes nothing has no record
            self._record(name, key, old, new, body.get("expired", False))

    def _item(self, table: str, key: dict[str, Any]) -> dict[str, Any] | None:
        self._table(table)
        rows = self.rows("SELECT item FROM items WHERE tab = ? AND place = ?", table, _place(key))
        return json.loads(rows[0][0]) if rows else None

    def _items(self, table: str) -> list[dict[str, Any]]:
        self._table(table)
        return [json.loads(item) for (item,) in self.rows("SELECT item FROM items WHERE tab = ?", table)]

    def _table(self, name: str) -> dict[str, Any]:
        rows = self.rows("SELECT description FROM tables WHERE name = ?", name)
        if not rows:
            raise Refusal("ResourceNotFoundException")
        found: dict[str, Any] = json.loads(rows[0][0])
        return found

    def _key(self, table: str, item: dict[str, Any]) -> dict[str, Any]:
        return {part["AttributeName"]: item[part["AttributeName"]] for part in self._table(table)["KeySchema"]}

    # -- streams -----------------------------------------------------------------------------------------------------

    def _record(self, table: str, key: Any, old: Any, new: Any, expired: bool) -> None:
        hashed = crc32(_place(key).encode())
        where = "tab = ? AND ends IS NULL AND low <= ? AND ? < high"
        [(shard,)] = self.rows(f"SELECT id FROM shards WHERE {where}", table, hashed, hashed)
        change = {"Keys": key, "ApproximateCreationDateTime": time.time(), "StreamViewType": "NEW_AND_OLD_IMAGES"}
        change |= {name: image for name, image in (("OldImage", old), ("NewImage", new)) if image is not None}
        record: dict[str, Any] = {"dynamodb": change}
        if expired:
            record["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        self.rows("INSERT INTO records (shard, record) VALUES (?, ?)", shard, json.dumps(record))

    def _last(self) -> int:
        [(last,)] = self.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'records'") or [(0,)]
        return int(last)

    def _new_shard(self, table: str, parent: str, low: int, high: int) -> None:
        [(count,)] = self.rows("SELECT count(*) FROM shards")
        values = (f"shardId-{count:020}-standin", table, parent, low, high, self._last() + 1)
        self.rows("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, NULL)", *values)

    def Split(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """The widest open shard."""
        widest = "tab = ? AND ends IS NULL ORDER BY high - low DESC, id LIMIT 1"
        [(shard, low, high)] = self.rows(f"SELECT id, low, high FROM shards WHERE {widest}", body["TableName"])
        self.rows("UPDATE shards SET ends = ? WHERE id = ?", self._last(), shard)
        middle = (low + high) // 2
        self._new_shard(body["TableName"], shard, low, middle)
        self._new_shard(body["TableName"], shard, middle, high)
        return {"Shard": shard}

    def Trim(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """Everything so far; closed shards are forgotten with it."""
        last = self._last()
        self.rows("INSERT OR REPLACE INTO trimmed SELECT id, ? FROM shards WHERE tab = ?", last + 1, body["TableName"])
        self.rows("DELETE FROM records WHERE number <= ?", last)
        self.rows("DELETE FROM shards WHERE tab = ? AND ends IS NOT NULL", body["TableName"])
        return {}

    def DescribeStream(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        arn = body["StreamArn"]
        table = arn.split("/")[1]
        found = []
        for shard, parent, begins, ends in self.rows(
            "SELECT id, parent, begins, ends FROM shards WHERE tab = ? ORDER BY id", table
        ):
            numbers = {"StartingSequenceNumber": str(FIRST + begins)}
            numbers |= {} if ends is None else {"EndingSequenceNumber": str(FIRST + ends)}
            found.append(
                {"ShardId": shard, "SequenceNumberRange": numbers} | ({"ParentShardId": parent} if parent else {})
            )
        about = {"StreamArn": arn, "StreamViewType": "NEW_AND_OLD_IMAGES", "StreamStatus": "ENABLED", "Shards": found}
        return {"StreamDescription": about}

    def GetShardIterator(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        shard, kind = body["ShardId"], body["ShardIteratorType"]
        if not self.rows("SELECT 1 FROM shards WHERE id = ?", shard):
            raise Refusal("ResourceNotFoundException")
        [(before,)] = self.rows("SELECT before FROM trimmed WHERE shard = ?", shard) or [(0,)]
        if kind == "TRIM_HORIZON":
            after = 0
        elif kind == "LATEST":
            after = self._last()
        else:
            number = int(body["SequenceNumber"]) - FIRST
            after = number - (kind == "AT_SEQUENCE_NUMBER")
            if after < before - 1:
                raise Refusal("TrimmedDataAccessException")
        return {"ShardIterator": f"{shard}/{after}"}

    def GetRecords(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        shard, _, after = body["ShardIterator"].partition("/")
        where = "shard = ? AND number > ? ORDER BY number LIMIT ?"
        rows = self.rows(f"SELECT number, record FROM records WHERE {where}", shard, int(after), PAGE)
        records = [json.loads(record) for _, record in rows]
        for (number, _), record in zip(rows, records, strict=True):
            record["dynamodb"]["SequenceNumber"] = str(FIRST + number)
        last = rows[-1][0] if rows else int(after)
        ended = self.rows("SELECT ends IS NOT NULL FROM shards WHERE id = ?", shard)
        over = len(rows) < PAGE and (not ended or ended[0][0])
        return {"Records": records} | ({} if over else {"NextShardIterator": f"{shard}/{last}"})


def _place(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    store: Store

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        try:
            status, answer = 200, self.store.call(operation, body)
        except (Refusal, Unknown) as refusal:
            status, answer = 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{refusal}", "message": "no"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


if __name__ == "__main__":
    Handler.store = Store(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("ready", flush=True)
    server.serve_forever()
