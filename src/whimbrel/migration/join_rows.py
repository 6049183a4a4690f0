"""The stored rows of one table that looks columns up, as of the change that is taken now: they are read for a whole
batch, and written many at a time, as a statement for each would cost more than all else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from whimbrel.migration.join_store import JoinStore, StoredRow

MOST = 20_000  # that wait to be written


class BatchRows:
    """Of the table number ``child``. ``write`` must come before the store is asked for rows, by ``read`` too, or saved.

    Called within ``understood``.
    """

    def __init__(self, store: JoinStore, child: int) -> None:
        self._store, self._child = store, child
        self._known: dict[bytes, StoredRow | None] = {}
        self._fresh: dict[bytes, tuple[Any, ...] | None] = {}

    def read(self, keys: Iterable[bytes]) -> None:
        """All that ``row`` will be asked for."""
        self._known = dict.fromkeys(keys)
        self._known.update((row.key, row) for row in self._store.rows_of(self._child, list(self._known)))

    def row(self, key: bytes) -> StoredRow | None:
        return self._known[key]

    def put(self, row: tuple[Any, ...]) -> None:
        """As of ``JoinStore.put``."""
        key = row[0]
        self._fresh[key] = row
        if len(self._fresh) >= MOST:
            self.write()
        if self._known:
            self._known[key] = StoredRow(key, row[1], row[2])

    def remove(self, key: bytes) -> None:
        self._fresh[key] = None
        if self._known:
            self._known[key] = None

    def write(self) -> None:
        if self._fresh:
            self._store.put(self._child, [row for key in sorted(self._fresh) if (row := self._fresh[key]) is not None])
            self._store.remove(self._child, [key for key, row in self._fresh.items() if row is None])
            self._fresh = {}
