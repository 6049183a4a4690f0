"""``finish``: the way back is given up, and what whimbrel made for it is removed. Only what whimbrel made.

The decision comes first, and is saved; everything after it may be repeated. A report is written at the end, and stays.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import replace_file, writing
from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.ttl import turn_ttl_on
from whimbrel.errors import HandoverError
from whimbrel.handed_over import FINISHED, OPEN, Handover, load
from whimbrel.handover.fence import Fence
from whimbrel.handover.source_gone import refuse_source_gone
from whimbrel.handover.state import Coordinator
from whimbrel.handover.streams import turn_off
from whimbrel.migration.dead import read_letters
from whimbrel.migration.join_store import remove_store
from whimbrel.migration.live import Asked
from whimbrel.migration.past_fence_noted import LIST
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import take_over
from whimbrel.migration.waivers import read_waived
from whimbrel.mysql.connect import connect
from whimbrel.mysql.handover_rows import remove_rows
from whimbrel.mysql.reverse_tables import remove_tables
from whimbrel.project import Project

REPORT = "finished.json"


@dataclass(frozen=True, slots=True)
class FinishResult:
    """``removed`` is what whimbrel had made and has removed, in words; ``report`` the file that says all this.
    ``expiring``: by target table, the attribute by which DynamoDB deletes its items from now on.
    """

    tables: tuple[str, ...]
    fence_kept: bool
    removed: tuple[str, ...]
    report: str
    expiring: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def finish(project: Project, asked: Asked, *, keep_fence: bool = False) -> FinishResult:
    """``keep_fence``: the fence stays, so that nobody writes to the old tables by mistake."""
    folder = StateFolder(project.state)
    folder.make()
    with take_over(folder, "whimbrel finish", asked.stop):
        now = load(project.state)
        refuse_source_gone(now, "finish")
        _refuse_not_open(now.step)
        coordinator = Coordinator(project, now.tables)
        if now.step == OPEN:
            _refuse_not_open(coordinator.take_over().step)  # the rows may be ahead: a rollback has begun
        if coordinator.now.step == OPEN:
            coordinator.move(FINISHED)
        removed = [f"the stream of {target}" for target in turn_off(project, now)]
        if not now.source_gone:
            removed += _remove_at_source(project, coordinator, asked, keep_fence=keep_fence)
        removed += _remove_state(folder)
        expiring = _let_expire(project)
        report = _report(folder, coordinator.now, removed, expiring, keep_fence=keep_fence)
    return FinishResult(tuple(coordinator.sources), keep_fence, tuple(removed), str(report), expiring)


def _let_expire(project: Project) -> dict[str, str]:
    """Only now: what DynamoDB deletes by itself would be missing to a verification, be put again by a replay, and on
    the way back be a deletion that nobody made.
    """
    wanted = {rule.target: rule.ttl.attribute for rule in project.tables if rule.ttl}
    if wanted:
        client = open_client(project.target)
        for target, attribute in wanted.items():
            turn_ttl_on(client, target, attribute)
    return wanted


def _refuse_not_open(step: str) -> None:
    if step not in (OPEN, FINISHED):
        raise HandoverError(
            f"DynamoDB is not open by a cutover (step {step})",
            place="finish",
            hint="Only an open cutover can be finished: see `whimbrel status`.",
        )


def _remove_at_source(project: Project, coordinator: Coordinator, asked: Asked, *, keep_fence: bool) -> list[str]:
    """The rows of the coordinator last of all: while they stand, the rest can be removed again."""
    removed, now = [], coordinator.now
    with closing(connect(project.source)) as connection:
        if now.starts and remove_tables(connection, coordinator.schema, now.fence_epoch):
            removed.append("the tables of the reverse stream")
        # With the fence they stay: they say whose it is, and a later `finish` can remove it.
        if coordinator.has_rows(connection) and not keep_fence:
            fence = Fence(project, coordinator, asked.stop.wait, project.cutover.max_stall)
            fence.open()
            removed.append(fence.named)
            remove_rows(connection, coordinator.schema, coordinator.sources)
            removed.append("the rows of the handover")
    return removed


def _remove_state(folder: StateFolder) -> list[str]:
    """The captured data. What says that the handover is finished stays, and so do the log and the report."""
    removed = []
    for path in (folder.log, folder.root / "export", folder.spill, folder.verify, folder.dirty):
        if path.exists():
            shutil.rmtree(path)
            removed.append(str(path))
    if folder.lookups.exists():
        remove_store(folder.lookups)
        removed.append(str(folder.lookups))
    return removed


def _report(
    folder: StateFolder, now: Handover, removed: list[str], expiring: dict[str, str], *, keep_fence: bool
) -> Path:
    path = folder.root / REPORT
    fields = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": [".".join(table) for table in now.tables],
        "epoch": now.epoch,
        "end_of_the_source": str(now.end or ""),
        "opened": None if now.closed_at is None else datetime.fromtimestamp(now.closed_at, UTC).isoformat(),
        "stall_ms": now.stall_ms,
        "fence_kept": keep_fence,
        "source_gone": None if now.source_gone is None else datetime.fromtimestamp(now.source_gone, UTC).isoformat(),
        "removed": list(removed),
        "expiring": expiring,
        "waived": list(read_waived(folder.root)),
        "past_fence": sum(1 for _ in read_letters(folder.root / LIST)),
        "dead_letters": folder.dead.exists() and folder.dead.stat().st_size > 0,
    }
    with writing(path):
        replace_file(path, orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path
