"""Who coordinates a handover, and how far it is: the state folder's file and the rows in the source, kept together.

A step is in the rows first, and then in the file. So after a crash the rows may be one step ahead, never more; the file
is ahead only where the server lost what it had acknowledged. To go on, whoever it is takes over first, with a token of
its own and a higher epoch (the order is that of migration/mark.py):

1. the new token is saved in the file as ``holder_pending``;
2. the rows get it, on the condition that they have a token that this folder knows, or that no handover is under way;
3. it is saved in the file as ``holder``.

A copied folder has a token that the rows no longer have as soon as the other folder was used, and is refused; what is
left of an older command cannot change the rows any more.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from whimbrel.errors import HandoverTaken, StateError
from whimbrel.handed_over import (
    CLOSING,
    CUTTING,
    DECIDED,
    FINISHED,
    FOLLOWING,
    OPEN,
    RETURNED,
    Handover,
    handover_file,
    load,
    save,
)
from whimbrel.mysql.barrier import Barrier, Name, execute
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.handover_rows import TABLE, HandoverRow, change_rows, has_table, highest_epoch, make_rows, read_rows
from whimbrel.project import Project

NEXT = {
    FOLLOWING: {CUTTING},
    CUTTING: {DECIDED, FOLLOWING},
    DECIDED: {OPEN, CLOSING},
    OPEN: {CLOSING, FINISHED},
    CLOSING: {OPEN, RETURNED},
    RETURNED: {FOLLOWING},
    FINISHED: set[str](),
}


class Coordinator:
    """``now`` is what stands; before ``take_over`` it is only what the file says."""

    def __init__(self, project: Project, tables: Iterable[Name]) -> None:
        """``tables``: as the server spells them."""
        self._source = project.source
        self._folder = project.state
        self.tables = sorted(tables)
        self.sources = [".".join(table) for table in self.tables]
        self.schema = own_schema(project, self.tables)
        self.now: Handover = load(self._folder)

    @property
    def row_table(self) -> tuple[str, str]:
        """To be locked with the tables: see ``sure`` and ``move``."""
        return self.schema, TABLE

    def take_over(self) -> Handover:
        """Be the one who coordinates, or raise HandoverTaken. What stands afterwards is what the last one left.

        Waits for a decision of an older command that is on its way to the rows: either it is there when this returns,
        or it will never be.
        """
        self.now = load(self._folder)
        with closing(connect(self._source)) as connection:
            make_rows(connection, self.schema, self.sources, FOLLOWING)
            self._end_last_claim(connection)
            fresh = secrets.token_hex(16)
            self._save(holder_pending=fresh)
            row, step = self._claim(connection, fresh)
        self._save(step=step, epoch=row.epoch, holder=fresh, holder_pending="")
        return self.now

    def sure(self, held: Barrier) -> None:
        """That this command still coordinates: nobody can take over while ``held`` has the rows locked. To be asked
        before the fence is made or removed. Raises HandoverTaken.
        """
        rows = read_rows(held.session, self.schema, self.sources)
        if len(rows) != len(self.sources) or any((row.epoch, row.holder) != self._ours for row in rows):
            raise self._taken(rows)

    def move(self, step: str, held: Barrier | None = None, **values: Any) -> None:
        """To the next ``step``: ``values`` in the file, the rows, the step in the file. The order matters: of a step
        that the rows have, the file has all that belongs to it.

        With ``held`` by the very session that has the lock, so that a step taken under it is never taken without it.
        Raises HandoverTaken, and SourceUnreachable when nobody knows whether the rows have it: ``take_over`` tells.
        """
        assert step in NEXT[self.now.step], f"{self.now.step} is not followed by {step}"
        was = HandoverRow("", self.now.epoch, self.now.step, self.now.holder, "")
        if values:
            self._save(**values)
        if held:
            self._change(held.session, was, was._replace(step=step, place=self._place()))
        else:
            with closing(connect(self._source)) as connection:
                execute(connection, "START TRANSACTION")
                self._change(connection, was, was._replace(step=step, place=self._place()))
        self._save(step=step)

    def note(self, **values: Any) -> None:
        """Save ``values`` in the file, within the step."""
        self._save(**values)

    def has_rows(self, connection: Mysql) -> bool:
        """Whether the source still knows of this handover."""
        return has_table(connection, self.schema) and bool(read_rows(connection, self.schema, self.sources))

    @property
    def _ours(self) -> tuple[int, str]:
        return self.now.epoch, self.now.holder

    def _change(self, session: Mysql, was: HandoverRow, now: HandoverRow) -> None:
        def changed(statement: str, parameters: tuple[Any, ...]) -> int:
            return execute(session, statement, parameters)

        if not change_rows(changed, self.schema, self.sources, was, now):
            execute(session, "ROLLBACK")
            raise self._taken(read_rows(session, self.schema, self.sources))
        execute(session, "COMMIT")

    def _end_last_claim(self, connection: Mysql) -> None:
        """One that was broken off after step 1: the rows have its token, or they never will."""
        if pending := self.now.holder_pending:
            rows = read_rows(connection, self.schema, self.sources)
            if all(row.holder == pending for row in rows):
                self._save(holder=pending, epoch=rows[0].epoch, holder_pending="")

    def _claim(self, connection: Mysql, fresh: str) -> tuple[HandoverRow, str]:
        execute(connection, "START TRANSACTION")
        # Higher than any other project's, too: the reverse stream's tables go by the epoch, and are common to all.
        epoch = max(highest_epoch(connection, self.schema), self.now.epoch) + 1
        rows = read_rows(connection, self.schema, self.sources, lock=True)
        found = {row[1:4] for row in rows}
        if len(rows) != len(self.sources) or any(not self._may_take(row) for row in rows):
            raise self._taken(rows)
        if len(found) > 1 and {row.step for row in rows} != {FOLLOWING}:
            raise self._taken(rows)
        step = standing_step(rows[0].step, self.now.step, self._folder)
        for row in rows:
            now = HandoverRow("", epoch, step, fresh, self._place())

            def changed(statement: str, parameters: tuple[Any, ...]) -> int:
                return execute(connection, statement, parameters)

            if not change_rows(changed, self.schema, [row.source], row, now):
                raise self._taken(rows)
        execute(connection, "COMMIT")
        return HandoverRow("", epoch, step, fresh, ""), step

    def _may_take(self, row: HandoverRow) -> bool:
        ours = row.holder in (self.now.holder, self.now.holder_pending) and row.holder != ""
        return ours or row.step == FOLLOWING

    def _place(self) -> str:
        return f"{socket.gethostname()}:{self._folder.resolve()}"

    def _save(self, **values: Any) -> None:
        self.now = replace(self.now, **values)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        save(self._folder, self.now)

    def _taken(self, rows: Sequence[HandoverRow]) -> HandoverTaken:
        others = [row for row in rows if (row.epoch, row.holder) != self._ours] or list(rows)
        if not others:
            return HandoverTaken(
                "the rows of this handover are gone", place=f"{self.schema}.{TABLE}", hint="Restore the table."
            )
        row = others[0]
        return HandoverTaken(
            f"another state folder hands over this table: {row.place or 'unknown'}, step {row.step}, epoch {row.epoch}",
            place=row.source,
            hint="Continue with that folder. If it is lost, docs/cutover.md says how to give the table back by hand.",
        )


def own_schema(project: Project, tables: Iterable[Name]) -> str:
    """Where whimbrel's own tables are in the source."""
    return project.cutover.schema or project.source.database or min(tables)[0]


def standing_step(row: str, file: str, folder: Path) -> str:
    """The step that stands after a crash, of what the rows and the file say. Raises StateError if they do not belong
    together.
    """
    if row == file:
        return row
    if {row, file} == {CUTTING, FOLLOWING}:
        return CUTTING  # the undo may not be whole: it is repeated, which is harmless
    if {row, file} == {CLOSING, OPEN}:
        return CLOSING  # nobody knows what applications were last told: they are told again, whichever way it goes
    if row in NEXT[file]:
        return row  # a crash between the two
    if file in NEXT.get(row, ()):
        return file  # the server lost its last transactions: what was decided stays decided
    raise StateError(
        f"it says {file}, and the rows of the source's {TABLE} say {row}",
        place=str(handover_file(folder)),
        hint="Restore the state folder, or the source's table, from the copy that belongs to the other.",
    )
