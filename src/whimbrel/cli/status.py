"""``whimbrel status``: what it prints of a migration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whimbrel.api import status as verbs
from whimbrel.cli.frame import DEAD_LETTERS, DIFFERENCES, OK, say, say_json
from whimbrel.handed_over import CLOSING, CUTTING, DECIDED, RETURNED, Handover
from whimbrel.migration.late_writes import LateWrites
from whimbrel.migration.past_fence_noted import PastFence
from whimbrel.migration.time_to_return import WayBack
from whimbrel.project import OFF, Project
from whimbrel.ui.shortened import shortened
from whimbrel.ui.words import lag_words, moment

REASONS = 10  # of dead letters


def status(project: Project, as_json: bool) -> int:
    elsewhere = _Elsewhere(project) if project.predict.on_sagemaker else None
    if elsewhere and not (project.source.host and (project.state / "checkpoint.json").exists()):  # no migration here
        say(elsewhere, as_json, elsewhere.lines())
        return OK
    found = verbs.status(project)
    if as_json:
        say_json(found.to_dict() | (elsewhere.to_dict() if elsewhere else {}))
    else:
        say(found, as_json, [*_status_lines(project, found), *(elsewhere.lines() if elsewhere else [])])
    strange = (found.late and found.late.count) or (found.past_fence and found.past_fence.count)
    return DEAD_LETTERS if found.dead_letters else DIFFERENCES if strange else OK


class _Elsewhere:
    """What the project has under way on SageMaker."""

    def __init__(self, project: Project) -> None:
        from whimbrel.api.prediction import running

        self._found = running(project)

    def to_dict(self) -> dict[str, Any]:
        return {"running": [each.to_dict() for each in self._found]}

    def lines(self) -> Iterator[str]:
        for each in self._found:
            yield f"{each.kind:<10} {each.name}: {each.status} (model {each.model})"
        if not self._found:
            yield "sagemaker  no training job runs, and no endpoint is being changed"


def _status_lines(project: Project, found: verbs.Status) -> Iterator[str]:
    now, live = found.checkpoint, found.running
    yield f"phase      {now.phase}" + ("" if live else " (no process is running)")
    yield from _handover_lines(found.handover)
    if found.way_back:
        yield from _way_back_lines(found.way_back)
    if found.past_fence:
        yield from _past_fence_lines(found.past_fence)
    if found.late:
        yield from _late_lines(found.late)
    yield f"start      {shortened(str(now.start))}"
    yield f"applied    {shortened(str(now.applied_position or 'nothing yet'))}"
    for each in found.data_sets:
        up_to = f", with everything up to {each.position}" if each.position else ""
        yield f"data set   {each.name} as of {each.as_of}{up_to}"
    if live:
        yield from _live_lines(live)
    else:
        yield "tables     as last saved:"
        for source, table in now.tables.items():
            yield f"  {source}: {_counts(table.rows_exported, table.rows_loaded, table.items_loaded)}"
    if project.target.mark == OFF:
        yield "mark       off: a second state folder on the same target is not noticed"
    elif now.migration:
        yield f"mark       {now.migration} in table {project.target.mark}"
    if held := now.counters.get("held", 0):
        yield f"skipped    {held:,} writes, by their table's condition"
    yield f"dead       {found.dead_letters:,} dead letters"
    for reason, count in found.reasons[:REASONS]:
        yield f"  {count:,} times: {reason}"


def _way_back_lines(way: WayBack) -> Iterator[str]:
    if not way.remains_seconds:
        yield "way back   is gone: the source lacks changes that the table's stream no longer has"
        if way.ended:
            yield f"           {way.ended}"
        return
    left = f"{way.remains_seconds / 3600:,.1f} hours are left to return"
    if way.following:
        yield f"way back   the source is {way.lag_seconds:,.1f} s behind DynamoDB; {left}"
    else:
        yield f"way back   nobody follows DynamoDB: run `whimbrel cutover`; {left}"
    if way.ended:
        yield f"           the last one that did ended: {way.ended}"
    if way.dead_letters:
        yield f"           {way.dead_letters:,} items could not be written back: see reverse-dead.jsonl"


def _past_fence_lines(found: PastFence) -> Iterator[str]:
    """What others wrote to the source since the cutover."""
    yield f"fence      {found.count:,} changes by others at the source, up to {shortened(found.position)}"
    if found.count:
        yield f"           {found.first}: see {found.path}"
    for each in found.faults:
        yield f"           {each}"
    if found.ended:
        yield f"           not looked for any more: {found.ended}"


def _late_lines(late: LateWrites) -> Iterator[str]:
    """Writes at DynamoDB after a rollback opened the source."""
    yield f"late       {late.count:,} writes at DynamoDB after the source was opened, up to {moment(late.until)}"
    if late.count:
        yield f"           see {late.path}; move it away once they are seen to"
    for began, ended, why in late.unknown:
        yield f"           not known from {moment(began)} to {moment(ended)}: {why}"
    if late.ended:
        yield f"           not looked for any more: {late.ended}"


def _handover_lines(now: Handover) -> Iterator[str]:
    """Which side takes writes, from the first cutover on."""
    if not now.epoch:
        return
    sides = {
        "mysql": "the source takes writes",
        "dynamodb": "DynamoDB takes writes",
        "none": "nobody takes writes yet",
    }
    yield f"side       {sides[now.side]} (step {now.step}, epoch {now.epoch})"
    if now.step == CUTTING:
        yield "           a cutover is under way; if its process has ended, `whimbrel cutover` or `migrate` undoes it"
    if now.step == DECIDED:
        yield "           the cutover is decided; `whimbrel cutover` tells the application and opens DynamoDB"
    if now.step == CLOSING:
        yield "           a rollback is under way; if its process has ended, `rollback` continues, `cutover` undoes it"
    if now.step == RETURNED:
        yield "           the return is decided; `whimbrel rollback` opens the source and tells the application"
    if now.source_gone:
        yield f"source     was given up as gone at {moment(now.source_gone)}: there is no way back"
    if now.stall_ms is not None:
        yield f"stall      nobody could write for {now.stall_ms:,.0f} ms; the source ended at {shortened(str(now.end))}"


def _live_lines(live: dict[str, Any]) -> Iterator[str]:
    """What the process that is running says of itself."""
    yield f"tables     now, by the running process (pid {live['pid']}):"
    for source, table in live["tables"].items():
        counts = _counts(table["exported_rows"], table["loaded_rows"], table["loaded_items"])
        about = f" of about {table['estimated_rows']:,} by the source's estimate" if live["phase"] == "snapshot" else ""
        yield f"  {source}{about}: {counts}"
    if live["phase"] in ("start", "snapshot", "load"):
        yield f"lag        {live['captured']:,} changes captured; they are applied after the load"
    else:
        yield f"lag        {lag_words(live)}"
    if live["phase"] == "apply" and live["note"]:
        yield f"stream     {live['note']}"
    for what in ("capturing", "applying"):
        if live.get(what):
            yield f"{what:<10} a transaction: {live[what]:,} changes so far"


def _counts(exported: int, loaded: int, items: int) -> str:
    return f"{exported:,} rows exported, {loaded:,} loaded as {items:,} items"
