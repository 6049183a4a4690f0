"""What one execution environment keeps between invocations: connections, and the mappings by what the sender said."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from whimbrel.bucket import Bucket
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import UserError
from whimbrel.kinesis.control import ControlTable
from whimbrel.kinesis.kept import KeptChanges
from whimbrel.kinesis.lanes import LANES
from whimbrel.kinesis.packed import Packed, Unreadable
from whimbrel.kinesis.settings import settings_from_json, table_from_line
from whimbrel.mapping.dialect import answers_to
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.versions import Versions
from whimbrel.project import Target
from whimbrel.records import Table

IDLE_SECONDS = 20.0
MOST_SETTINGS = 8  # an environment that lives for weeks sees few of them


class Works(NamedTuple):
    """What the function works by; ``versions`` are by their rule's name, ``limit`` is how many calls at once
    have turned out well, ``lane_units`` the write units a second of each lane, 0 without a cap. ``kept`` has the
    changes that no record takes.
    """

    began: float
    limit: ConcurrencyLimit
    versions: Mapping[str, Versions]
    lane_units: float = 0.0
    kept: KeptChanges | None = None


class Known:
    """Of one table of marks; used by one thread. ``timeout`` is that of a call, in seconds. ``skips_others``: changes
    that another sender put into the stream are passed over, and do not fail their batch.
    """

    def __init__(self, target: Target, timeout: float, *, skips_others: bool = False) -> None:
        self.target = target
        self.timeout = timeout
        self.skips_others = skips_others
        self._works: dict[str, Works] = {}
        self._tables: dict[str, Table] = {}
        self._wire: DynamoClient | None = None
        self._used = 0.0

    def wire(self) -> DynamoClient:
        """One client for all invocations; another one after a while without any, when its connections may be closed."""
        if self._wire is not None and time.monotonic() - self._used > IDLE_SECONDS:
            self.drop_wire()
        if self._wire is None:
            self._wire = DynamoClient(self.target, connect_timeout=self.timeout, timeout=self.timeout)
        self._used = time.monotonic()
        return self._wire

    def drop_wire(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def control(self, wire: DynamoClient, stream: str, stop: threading.Event) -> ControlTable:
        return ControlTable(wire, self.target.mark, stream, stop)

    def works(self, control: ControlTable, digest: str) -> Works:
        """Raises StateError where the sender has not said it, UserError where it does not fit this version."""
        if digest not in self._works:
            if len(self._works) == MOST_SETTINGS:
                self._works.clear()
            self._works[digest] = self._compiled(control.settings(digest))
        return self._works[digest]

    def whole(self, control: ControlTable, packed: Packed) -> Packed:
        """The record with all its changes. Raises Unreadable where one is kept elsewhere, and cannot be had, and what
        Bucket does where that cannot be asked.
        """
        if packed.kept is None:
            return packed
        kept = self.works(control, packed.head.settings).kept
        if kept is None:
            raise Unreadable("its settings name no bucket")
        return kept.whole(packed)

    def table(self, control: ControlTable, digest: str) -> Table:
        """The same object each time: mappings tell versions of a table apart by it."""
        if digest not in self._tables:
            self._tables[digest] = table_from_line(control.table(digest))
        return self._tables[digest]

    def _compiled(self, data: bytes) -> Works:
        settings = settings_from_json(data)
        _same_dialect(settings.answers)
        family = compile_family([(Versions(each.rule, each.first, each.known), each.now) for each in settings.sources])
        if family.faults:
            said = "; ".join(map(str, family.faults))
            hint = "Deploy the function of the version of whimbrel that sends the changes."
            raise UserError(f"the rules do not fit the tables: {said}", place="settings", hint=hint)
        limit, units = ConcurrencyLimit(settings.concurrency), settings.max_write_units / LANES
        bucket = Bucket(settings.store, self.target, self.timeout, self.timeout) if settings.store else None
        return Works(settings.began, limit, family.versions, units, KeptChanges(bucket) if bucket else None)


def _same_dialect(answers: Mapping[str, str]) -> None:
    """Raises UserError where SQLite here makes something else of expressions than the sender's, which the load had."""
    here = answers_to(answers)
    if other := [name or "operators" for name in answers if here.get(name) != answers[name]]:
        raise UserError(
            f"SQLite {sqlite3.sqlite_version} of the function differs from the sender's in {', '.join(other)}",
            place="settings",
            hint="Give the function a runtime whose Python has the same SQLite, or do without these in expressions.",
        )
