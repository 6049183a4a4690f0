"""One stream with the post's events, as whimbrel's sender puts them, that the post's function and ours both read."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Protocol

from demo.event_source import Event, EventSource
from demo.servers import Dynalite, Kinesalite
from tests.conftest import unique
from tests.function.peer import HASH, NAME, RANGE, VALUE, PeerFunction, PeerSender
from whimbrel.changelog.record import change_encoder
from whimbrel.dynamodb.tables import ensure_table
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.function.invocation import Invocation
from whimbrel.function.known import Known
from whimbrel.kinesis.control import ControlTable
from whimbrel.kinesis.packed import POST, Interval
from whimbrel.kinesis.puts import StreamWriter
from whimbrel.kinesis.settings import FunctionSettings, SourceTable, settings_to_json
from whimbrel.mapping.versions import Versions
from whimbrel.migration.pack import Packer
from whimbrel.project import KeyRule, TableRule, Target
from whimbrel.records import Change, Column, Commit, Position, Table

Row = dict[str, Any]
Items = dict[tuple[str, str], dict[str, str]]
AT = Position("bin.000001", 4)
COLUMNS = tuple(Column(name, "text", nullable=False, charset="utf8mb4") for name in (HASH, RANGE, NAME, VALUE))
TABLE = Table("shop", "purchase", COLUMNS, (HASH, RANGE, NAME))


class Changes(Protocol):
    """Of rows of the post's table."""

    def change(self, before: Row | None, after: Row | None) -> None: ...

    def insert(self, values: Row) -> None:
        self.change(None, values)

    def update(self, before: Row, after: Row) -> None:
        self.change(before, after)

    def delete(self, values: Row) -> None:
        self.change(values, None)


class OneStream(Changes):
    def __init__(self, kinesalite: Kinesalite, dynalite: Dynalite, *, skips_others: bool = False) -> None:
        self._client, self._changes, stop = dynalite.client(), list[Change](), threading.Event()
        self._stream, self._migration = unique("stream"), unique("migration")
        self._table, self._peers = unique("items"), unique("peer")
        kinesalite.new_stream(self._stream, 2)
        target = dynalite.target(mark=unique("marks"))
        for table in (self._table, self._peers):
            ensure_table(self._client, table, ((HASH, "S"), (RANGE, "S")), target)
        ensure_table(self._client, target.mark, (("target", "S"), ("migration", "S")), target)
        rule = TableRule(
            source=TABLE.full_name,
            target=self._table,
            shape="group",
            partition_key=KeyRule(HASH, f"${{{HASH}}}"),
            sort_key=KeyRule(RANGE, f"${{{RANGE}}}"),
            entry_name=f"${{{NAME}}}",
            entry_value=VALUE,
        )
        self._wire = DynamoClient(target)
        self._control = ControlTable(self._wire, target.mark, self._stream, stop)
        assert self._control.take(self._migration)
        settings = FunctionSettings(0.0, 8, (SourceTable(rule, TABLE, TABLE, TABLE.names),))
        head = Interval(self._migration, self._control.put_settings(settings_to_json(settings)), 1, 0, 0, 0)
        versions = {rule.source: Versions(rule, TABLE)}
        self._packer = Packer(versions, self._control.put_table, head, 0.0, POST, 1 << 20)
        self._writer = StreamWriter(Target(endpoint=kinesalite.endpoint, region="us-east-1"), self._stream, stop)
        self._known = Known(target, 1.0, skips_others=skips_others)
        self.other_sender = PeerSender(kinesalite.client, self._stream)
        peer = PeerFunction(self._client, self._peers)

        def asked(event: Event) -> None:
            peer(event)

        self._both = [EventSource(kinesalite.client, self._stream, each) for each in (asked, self._invoke)]

    def __enter__(self) -> OneStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._wire.close()
        self._known.drop_wire()

    def change(self, before: Row | None, after: Row | None) -> None:
        self._changes.append(Change(TABLE, _values(before), _values(after), AT))

    def send(self) -> None:
        """All changes, and let both functions take them."""
        changes, self._changes = self._changes, []
        lines = [change_encoder(TABLE)(each).rstrip(b"\n") for each in changes]
        self._faults = self._packer.pack([*changes, Commit(AT, 1.0)], lines, lambda: 1.0)
        self._writer.put(self._packer.take())
        for mapping in self._both:
            while mapping.step():
                pass

    def items(self) -> Items:
        return items_of(self._client, self._table)

    def peer_items(self) -> Items:
        return items_of(self._client, self._peers)

    def letters(self) -> int:
        """Of the sender and of the function."""
        return len(self._faults) + len(self._control.letters(self._migration))

    def _invoke(self, event: Event) -> Any:
        return Invocation(self._known, event["Records"], 10.0).run()


def _values(row: Row | None) -> tuple[str, ...] | None:
    return None if row is None else tuple(str(row[name]) for name in TABLE.names)


def items_of(client: Any, table: str) -> Items:
    """The entries of each item, by its key."""
    found = client.scan(TableName=table, ConsistentRead=True)["Items"]
    return {
        (item[HASH]["S"], item[RANGE]["S"]): {n: v["S"] for n, v in item.items() if n not in (HASH, RANGE)}
        for item in found
    }
