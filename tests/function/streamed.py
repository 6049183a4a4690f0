"""A log whose changes go through a stream and a function into a table: the sender, the stream and the function."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.event_source import Event, EventSource
from demo.servers import Dynalite, Kinesalite
from tests.conftest import unique
from tests.migration.applied import RULES, TABLES, Applied
from whimbrel.bucket import bucket_of
from whimbrel.changelog.segments import read_mark
from whimbrel.durable import append
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.function.invocation import Invocation
from whimbrel.function.known import Known
from whimbrel.kinesis.control import ControlTable
from whimbrel.kinesis.kept import KeptChanges
from whimbrel.kinesis.puts import StreamWriter
from whimbrel.kinesis.settings import FunctionSettings, SourceTable, settings_to_json
from whimbrel.mapping.versions import Versions
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys, newest_place
from whimbrel.migration.dirty_files import DirtyPlace
from whimbrel.migration.progress import Progress
from whimbrel.migration.send import Sender, Sending
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import Store, Target
from whimbrel.records import Item

CALL_SECONDS = 1.0
LEFT_SECONDS = 10.0


class Killed(BaseException):
    """The process or the environment is gone, between any two calls."""


class Streamed:
    """Of one history; ``form`` is that of the records, ``store`` where changes are that no record takes."""

    store: Store | None

    def __init__(self, folder: Path, kinesalite: Kinesalite, dynalite: Dynalite, *, shards: int = 2) -> None:
        self.folder = folder
        self.source = Applied(folder)
        self.server, self.kinesis = kinesalite, kinesalite.client
        self.stream, self.table, self.migration = unique("stream"), unique("items"), unique("migration")
        kinesalite.new_stream(self.stream, shards)
        self.at = Target(endpoint=kinesalite.endpoint, region="us-east-1")
        self.target = dynalite.target(mark=unique("marks"))
        self.client = dynalite.client()
        ensure_table(self.client, self.table, (("pk", "S"),), self.target)
        ensure_table(self.client, self.target.mark, (("target", "S"), ("migration", "S")), self.target)
        self.rules = [replace(rule, target=self.table) for rule in RULES]
        self.stop = threading.Event()
        self.wire = DynamoClient(self.target)
        self.control = ControlTable(self.wire, self.target.mark, self.stream, self.stop)
        assert self.control.take(self.migration)
        self.known = Known(self.target, CALL_SECONDS)
        self.mapping = EventSource(self.kinesis, self.stream, self.invoke, batch=40)
        self.form, self.store = "packed", None
        self.dirty: DirtyKeys | None = None
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        """As after a restart: everything from what is on disk."""
        self.progress = Progress()
        self.dead = DeadLetters(self.folder / "dead.jsonl")
        self.checkpoints = CheckpointStore(self.folder / "checkpoint.json")
        if self.dirty is not None:
            self.dirty._close_file()  # as the process ends: nothing is saved by it
        mark = read_mark(self.folder / "log") if (self.folder / "sent.json").exists() else None
        self.dirty = DirtyKeys(StateFolder(self.folder), self.checkpoints.now, mark.total if mark else 0)
        sources = tuple(
            SourceTable(rule, table, table, table.names) for rule, table in zip(self.rules, TABLES, strict=True)
        )
        made = FunctionSettings(0.0, 8, sources)._replace(store=self.store)
        settings = self.control.put_settings(settings_to_json(made))
        files = self.folder / "log", self.folder / "sent.json"
        keep = KeptChanges(bucket_of(self.store, self.target)).put if self.store else None
        sending = Sending(*files, self.migration, settings, 0.0, self.form, 1 << 20, keep)
        versions = {table.full_name: Versions(rule, table) for table, rule in zip(TABLES, self.rules, strict=True)}
        writer = StreamWriter(self.at, self.stream, self.stop)
        append(self.folder / "sent.json", b"")
        known = self.control, self.dead, self.dirty, self.checkpoints
        return Sender(sending, versions, writer, *known, self.progress, self.stop.is_set)

    def place(self) -> DirtyPlace:
        """Where the keys begin of a verification that begins now."""
        place = newest_place(self.folder)
        assert place is not None
        return place

    def restart_sender(self) -> None:
        self.sender.close()
        self.sender = self.new_sender()

    def invoke(self, event: Event) -> Any:
        return Invocation(self.known, event["Records"], LEFT_SECONDS).run()

    def settle(self, between: Callable[[], object] = lambda: None) -> None:
        """Send and apply everything."""
        while self.progress.applied < self.source.changes:
            between()
            if not self.sender.step():
                self.sender.idle()
            self.mapping.step()

    def held(self) -> dict[str, Item]:
        """By boto3: what the table has, as ``Applied.expected`` says it."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        return {item["pk"]["S"]: {n: v for n, v in item.items() if n != "id"} for item in items}

    def close(self) -> None:
        self.sender.close()
        if self.dirty is not None:
            self.dirty.close()
        self.wire.close()
        self.known.drop_wire()
        self.source.log.close()
