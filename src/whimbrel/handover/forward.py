"""Forward again: after a rollback the migration continues from where the source was given back, without a new snapshot.

What the binlog has between the decision and that Position was written by the reverse stream, and must not come back. So
the change log gets an empty commit there, and the Checkpoint moves to it. Both may be repeated after a crash.

What look-ups read is as of the end of the cutover, and the application wrote what it liked into copies of looked-up
columns: so it goes, and the next run makes it again and writes the items (``migration.join_fill``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter
from whimbrel.changelog.record import LogPoint
from whimbrel.checkpoint import REWRITING
from whimbrel.errors import HandoverError, SchemaDrift, StateError
from whimbrel.handed_over import Handover
from whimbrel.migration.join_fill import give_up_joins
from whimbrel.migration.run import Run
from whimbrel.records import Change, Commit, Position


def same_source(run: Run, now: Handover) -> None:
    """That the source is the server that was fenced, with the tables as the migration knows them. An ALTER while
    DynamoDB was open is in a part of the binlog that nobody will read. Raises HandoverError, SchemaDrift.
    """
    server = run.prepared.server.server_uuid
    if server != now.server:
        raise HandoverError(
            f"the source is another server ({server}) than the one that was fenced ({now.server})",
            place="source",
            hint="Let the project file name that server again. A failover while DynamoDB is open is not followed.",
        )
    history, applied = run.prepared.history, run.checkpoints.now.applied_position
    assert history, "the migration was in phase apply when it was cut over"
    assert applied
    for name, known in history.at(applied).items():
        if run.prepared.tables[name] != known:
            raise SchemaDrift(
                "was altered while DynamoDB was open",
                place=known.full_name,
                hint="Alter it back to what it was, then run the same command again.",
            )


def shorten_log(run: Run) -> None:
    """While applications still write: ``continue_from`` opens the log when nobody can, and reads its last segment."""
    with ChangeLogWriter(run.folder.log) as log:
        log.begin_segment()


def continue_from(run: Run, end: Position, position: Position) -> None:
    """Make ``position`` the end of the change log, and of what is applied. What the log has after ``end``, where the
    source was closed, was written past the fence, and is never applied: DynamoDB may have newer values. Raises
    StateError when other changes are left in the log: the decision came after all of them.
    """
    run.lineage.begin(position)
    now = run.checkpoints.now
    if give_up_joins(run.folder.lookups, run.prepared):  # durable before the Checkpoint moves past what it was as of
        now = replace(now, counters={**now.counters, REWRITING: 1})
    with ChangeLogWriter(run.folder.log) as log:
        applied, late = now.counters.get("applied", 0), sum(1 for _ in late_changes(run, now.applied, end))
        if log.total != applied + late:
            raise StateError(
                f"the change log has {log.total:,} changes, and {applied:,} were applied before the decision",
                place=str(run.folder.log),
                hint="Restore the state folder from one copy, and please report this.",
            )
        if log.last is None or position.order > log.last.position.order:
            log.commit(Commit(position, time.time()))
        # Durable before the Checkpoint points to it.
        log.sync()
        last, reached = log.last, log.end
    assert last is not None
    if last.position.order != position.order:
        raise StateError(
            f"the change log ends at {last.position}, after {position}, where the source was given back",
            place=str(run.folder.log),
            hint="Restore the state folder from one copy, and please report this.",
        )
    run.checkpoints.save(now.with_applied(LogPoint(*reached), position, last.timestamp).with_counted("applied", late))


def late_changes(run: Run, start: LogPoint | None, end: Position) -> Iterator[Change]:
    """The changes of the log, from ``start`` on, of transactions that ended after ``end``."""
    pending: list[Change] = []
    with ChangeLogReader(run.folder.log, start) as reader:
        while records := reader.read(1_000):
            for record in records:
                if isinstance(record, Change):
                    pending.append(record)
                    continue
                if not end.at_or_after(record.position):
                    yield from pending
                pending = []
