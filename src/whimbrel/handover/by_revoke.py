"""Closed by taking the named accounts what they may write (``mysql.revoking``), where nobody else may write.

What is revoked is in the state folder before it is, and goes from there when it was given back. For a person who has
lost that folder it is in the source too, in a table that ``mysql.revoked_rows`` makes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from whimbrel.errors import Stopped, TablesBusy
from whimbrel.handover.means import UNDO_PATIENCE, LockTables, Shut, Wait
from whimbrel.handover.state import Coordinator
from whimbrel.mysql.accounts import account_of
from whimbrel.mysql.barrier import Barrier, execute, refuse_prepared
from whimbrel.mysql.connect import Mysql, connect, place_of
from whimbrel.mysql.revoked_rows import note_revoked, remove_revoked
from whimbrel.mysql.revoking import Exempt, Revoked, exempt_of, give_back, others, revoke, to_revoke, under_way
from whimbrel.project import Cutover, Source

_LOOK = 0.003  # seconds


class ByRevoke:
    named = "the revocation"
    read_lock = False

    def __init__(self, source: Source, coordinator: Coordinator, settings: Cutover, wait: Wait) -> None:
        self._source, self._coordinator, self._settings, self._wait = source, coordinator, settings, wait

    @contextmanager
    def shut(self, locked: LockTables, patience: float) -> Iterator[Shut]:
        """The order matters: what is revoked is durable first; then nobody begins to write; then nobody is at it."""
        tables = self._coordinator.tables
        with closing(connect(self._source)) as connection:
            exempt = exempt_of(connection, self._settings)
            with locked([], patience):
                named = [account_of(text) for text in self._settings.revoke_from]
                self._note(connection, to_revoke(connection, tables, named, exempt))
                since = time.monotonic()
                revoke(partial(execute, connection), self._revoked())
            self._wait_for_others(connection, exempt, patience)
            with locked(tables, patience) as held:
                refuse_prepared(held)
                yield Shut(held, since)

    def faults(self, connection: Mysql) -> list[str]:
        """On a connection of its own: one that has tables locked may read no others."""
        with closing(connect(self._source)) as free:
            exempt = exempt_of(free, self._settings)
            found = others(free, self._coordinator.tables, exempt)
        return [f"{each.account} {each.said} {'.'.join(each.table)}" for each in found]

    def make_again(self, locked: LockTables) -> None:
        """Somebody has given rights meanwhile. They are not given back at a rollback: what was revoked first is."""
        with closing(connect(self._source)) as connection, locked([]):
            exempt = exempt_of(connection, self._settings)
            named = [account_of(text) for text in self._settings.revoke_from]
            revoke(partial(execute, connection), to_revoke(connection, self._coordinator.tables, named, exempt))

    def give_back(self, held: Barrier) -> None:
        """Not within the lock of the tables."""

    def open(self, locked: LockTables) -> None:
        if not (revoked := self._revoked()):
            return
        with closing(connect(self._source)) as connection, locked([], UNDO_PATIENCE):
            give_back(connection, partial(execute, connection), revoked)
            remove_revoked(connection, self._coordinator.schema, self._coordinator.now.fence_epoch)
            self._coordinator.note(revoked=())

    def _revoked(self) -> list[Revoked]:
        return [Revoked.of(fields) for fields in self._coordinator.now.revoked]

    def _note(self, connection: Mysql, found: list[Revoked]) -> None:
        self._coordinator.note(revoked=tuple(each.as_fields() for each in found))
        epoch = self._coordinator.now.fence_epoch
        note_revoked(connection, self._coordinator.schema, epoch, [each.grant for each in found])

    def _wait_for_others(self, connection: Mysql, exempt: Exempt, patience: float) -> None:
        """A statement that asked for its rights before they were revoked may still be on its way to the tables."""
        give_up, left = time.monotonic() + patience, under_way(connection, exempt)
        while left := left & under_way(connection, exempt):
            if time.monotonic() > give_up:
                [first, *_] = sorted(left)
                raise TablesBusy(
                    f"a statement of {first.user!r} (session {first.session}), begun before rights were revoked, did "
                    f"not end within {patience:g} seconds",
                    place=place_of(self._source),
                    hint="End it, then run the same command again.",
                )
            if self._wait(_LOOK):
                raise Stopped("asked to stop before the tables were locked")
