"""A whole way back for the tests: a source with its rows, a stand-in with its items and its stream, and a Reverse."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.servers import DynamoServer, SqlServer
from tests.handover.back import reverse_account
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.handover.look import Site as Beside
from whimbrel.handover.markers import mark_shards
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.handover.writing import WriteRules
from whimbrel.migration.prepare import Prepared, prepare
from whimbrel.project import Project, TableRule
from whimbrel.records import Item

TARGET = "shop"


class StreamsServer(DynamoServer):
    """The stand-in of ``streams_server``."""

    name = "streams"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.handover.streams_server", str(self.port), str(self.folder / "data.sqlite")]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def call(self, operation: str, **body: Any) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        request = urllib.request.Request(self.endpoint, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


class Site:
    def __init__(
        self,
        source: SqlServer,
        database: str,
        endpoint: DynamoServer,
        folder: Path,
        rules: tuple[TableRule, ...],
        target: str = TARGET,
    ) -> None:
        self.source, self.database, self.endpoint, self.target = source, database, endpoint, target
        folder.mkdir(mode=0o700, exist_ok=True)
        self.project = Project(folder / "whimbrel.toml", folder, source.source(database), endpoint.target(), rules)
        self.prepared: Prepared = prepare(self.project)
        self.account = reverse_account(source, database)
        [mapping, *_] = self.prepared.mappings.values()
        self.keys = mapping.key_attributes
        self.make_table()
        self.streams = open_streams(self.project.target)
        self.wire = DynamoClient(self.project.target)
        weakref.finalize(self, self.wire.close)

    def make_table(self) -> None:
        kinds = [{"AttributeName": name, "AttributeType": kind} for name, kind in self.keys]
        roles = zip(self.keys, ("HASH", "RANGE"), strict=False)
        self.endpoint.client().create_table(
            TableName=self.target,
            AttributeDefinitions=kinds,
            KeySchema=[{"AttributeName": name, "KeyType": role} for (name, _), role in roles],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )

    @property
    def stream(self) -> str:
        return str(self.endpoint.client().describe_table(TableName=self.target)["Table"]["LatestStreamArn"])

    def load(self) -> None:
        """The items of the source's rows, as the forward migration leaves them."""
        for mapping in self.prepared.mappings.values():
            for put in mapping.put_items(self.whole_rows(mapping.table.name))[0]:
                self.put(put.item)

    def whole_rows(self, table: str) -> list[tuple[Any, ...]]:
        return list(self.source.execute(f"SELECT * FROM `{table}` ORDER BY 1, 2", database=self.database))

    def put(self, item: Item) -> None:
        self.endpoint.client().put_item(TableName=self.target, Item=item)

    def delete(self, key: Item) -> None:
        self.endpoint.client().delete_item(TableName=self.target, Key=key)

    def mark(self, nonce: str) -> dict[str, dict[str, str]]:
        stop = threading.Event()
        return {self.target: mark_shards(self.wire, self.streams, self.stream, self.target, self.keys, nonce, stop)}

    def reverse(self, starts: Any, rules: WriteRules = WriteRules(), stop: threading.Event | None = None) -> Reverse:  # noqa: B008
        return Reverse(self.prepared, 1, starts, stop or threading.Event(), print, Settings(self.account, rules))

    def beside(self, epoch: int = 1, rules: WriteRules = WriteRules()) -> Beside:  # noqa: B008
        """Items and rows, to be compared."""
        return Beside(self.prepared, epoch, self.wire, threading.Event(), Settings(self.account, rules))

    def drain(self, reverse: Reverse) -> None:
        """Follow until everything written before now has come."""
        markers = self.mark(f"end-{time.time()}")
        reverse.follow(at_end(reverse, markers))


def at_end(reverse: Reverse, markers: Any) -> Callable[[], bool]:
    end = time.monotonic() + 60

    def done() -> bool:
        assert time.monotonic() < end, "the end was not reached within a minute"
        found = reverse.at_end(markers)
        assert not found.unmarked
        return found.read

    return done
