"""How gently the snapshot reads: a cap on rows per second, and a pause while the source is under load."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.connect import Mysql, connect, replica_status, rows_as_dicts
from whimbrel.project import Source
from whimbrel.threads import in_thread

LOOK_EVERY = 1.0  # seconds between looks at the source's load
CHUNK_SECONDS = 0.25  # a chunk is of no more rows than a cap allows in that time

log = logging.getLogger(__name__)


class RowRate:
    """A cap on rows per second that all connections share. Time not used is not saved up."""

    def __init__(self, rows_per_second: int) -> None:
        self._rate = rows_per_second
        self._free_at = 0.0

    def wait_for(self, rows: int) -> float:
        """Seconds to wait now that ``rows`` more have been read; 0.0 without a cap."""
        if not self._rate:
            return 0.0
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + rows / self._rate
        return self._free_at - now

    def batch(self, most: int) -> int:
        """How many rows to read between two pauses, of a chunk that cannot be cut small."""
        return min(most, max(1, self._rate // 10)) if self._rate else most

    def chunk(self, most: int) -> int:
        """How many rows to read in one transaction, without a pause: an ALTER has to wait for its end, and behind it
        the application's writes. So the pause comes after it, and a low cap is kept within each second too.
        """
        return min(most, max(1, round(self._rate * CHUNK_SECONDS))) if self._rate else most


class LoadGate:
    """Open while the source is not under load; a side connection looks about once a second.

    ``own_queries`` says how many of the running threads are the snapshot's own: they do not count.
    """

    def __init__(self, source: Source, own_queries: Callable[[], int]) -> None:
        self._source = source
        self._own_queries = own_queries
        self._connection: Mysql | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.reason = ""

    async def watch(self) -> None:
        """Open and shut the gate until cancelled. While the load cannot be known, the gate stays as it was."""
        if not self._is_limited:
            return
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY)
                await self.look()
        finally:
            self._drop_connection()

    async def look(self) -> None:
        """Look at the load once. Raises PrivilegeError when the account may not ask for it."""
        if not self._is_limited:
            return
        try:
            self._set(await in_thread(self._overload))
        except SourceUnreachable as error:
            log.warning("the source's load is not known: %s", error)
            self._drop_connection()

    def _set(self, reason: str) -> None:
        if reason and not self.reason:
            log.info("snapshot pauses: %s", reason)
        if self.reason and not reason:
            log.info("snapshot continues")
        self.reason = reason
        if reason:
            self.open.clear()
        else:
            self.open.set()

    def _overload(self) -> str:
        """Why to pause, or ""."""
        most, longest = self._source.max_threads_running, self._source.max_replica_lag
        if self._connection is None:
            self._connection = connect(self._source, read_timeout=10)
        if most:
            running = threads_running(self._connection) - 1 - self._own_queries()
            if running > most:
                return f"{running} threads are running, more than max_threads_running = {most}"
        if longest:
            lag = replica_lag(self._connection)
            if lag is None:
                return "replication has stopped, so its lag is not known"
            if lag > longest:
                return f"replica lag is {lag:g} s, more than max_replica_lag = {longest:g}"
        return ""

    @property
    def _is_limited(self) -> bool:
        return bool(self._source.max_threads_running or self._source.max_replica_lag)

    def _drop_connection(self) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()
        self._connection = None


def threads_running(connection: Mysql) -> int:
    """Statements at work on the server now, ours and this one among them."""
    return int(rows_as_dicts(connection, "SHOW GLOBAL STATUS LIKE 'Threads_running'")[0]["Value"])


def at_work(connection: Mysql) -> tuple[int, int]:
    """Statements at work on the server now, but for this one; and how many it has had since it was started."""
    rows = rows_as_dicts(connection, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_running', 'Questions')")
    found = {row["Variable_name"].lower(): int(row["Value"]) for row in rows}
    return max(0, found["threads_running"] - 1), found["questions"]


def replica_lag(connection: Mysql) -> float | None:
    """Seconds that the source lags behind its own source: the longest of several; 0 if it is not a replica; None if it
    has stopped.
    """
    lags: list[Any] = [
        row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master")) for row in replica_status(connection)
    ]
    return None if None in lags else max(map(float, lags), default=0.0)
