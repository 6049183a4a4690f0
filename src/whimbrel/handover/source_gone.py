"""DynamoDB opened by the decision in the state folder alone, where the source was destroyed for good.

The step in the file may be one behind the rows in the source, never more, and what belongs to a step is in the file
before the rows have it (``handover/state.py``, spec/gone.pml). So the file alone says whether anybody may have written
to the source after its end:

- DECIDED, OPEN: the rows have one of DECIDED, OPEN, CLOSING, FINISHED. The fence stood in all of them.
- CLOSING, and no ``forward_from``: the rows cannot have RETURNED. The fence stood.
- CLOSING with ``forward_from``: the source may have been given back, and have taken writes since.
- FOLLOWING, CUTTING: it was open, or was opened again perhaps. RETURNED: it was open.

Where the fence stood nothing can be lost by it, even if the source is only out of reach: it refuses writes for good.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import HandoverError, SourceUnreachable
from whimbrel.handed_over import (
    CLOSING,
    CUTTING,
    DECIDED,
    FINISHED,
    FOLLOWING,
    OPEN,
    Handover,
    handover_file,
    load,
    save,
)
from whimbrel.handover.hooks import told
from whimbrel.handover.switching import announce
from whimbrel.migration.live import Asked, Live
from whimbrel.migration.mark import refuse_copy
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import StateFolder
from whimbrel.migration.takeover import take_over
from whimbrel.mysql.connect import connect, server_info
from whimbrel.project import Project

FLAG = "whimbrel cutover --source-is-gone"


def open_without_source(project: Project, asked: Asked) -> Handover:
    """To FINISHED; the way back is given up. May be repeated. Raises HandoverError where nobody can tell whether the
    source took writes, or where it answers; TargetTaken if another copy of the state folder was used since;
    HandoverTaken, Stopped, StateError, and what the target raises.
    """
    folder = StateFolder(project.state)
    with take_over(folder, FLAG, asked.stop):
        now = load(folder.root)
        refuse_undecided(now, str(handover_file(folder.root)))
        if now.step == FINISHED:
            return now
        _refuse_if_it_answers(project, now)
        with (
            Live(Progress(phase="cutover"), folder, asked.stop, asked.tell) as live,
            closing(DynamoClient(project.target)) as wire,
        ):
            refuse_copy(project, wire, asked.stop)
            # First: from here on no command returns to the source, whoever is told what.
            now = replace(now, epoch=now.epoch + 1, source_gone=now.source_gone or time.time())
            save(folder.root, now)
            announce(project, wire, told("switch", "dynamodb", now, project.cutover), asked.stop, live.say)
            save(folder.root, now := replace(now, step=FINISHED))
    return now


def refuse_undecided(now: Handover, place: str) -> None:
    """Raises HandoverError unless ``now`` says by itself that the source took no write after its end."""
    if now.step in (DECIDED, OPEN, FINISHED) or (now.step == CLOSING and now.forward_from is None):
        return
    reasons = {
        FOLLOWING: "no cutover was decided: what the source took last may be missing at DynamoDB",
        CUTTING: "a cutover was under way, and whether it was decided is not known without the source",
        CLOSING: "a rollback may have given the source back, which may have taken writes since",
    }
    raise HandoverError(
        reasons.get(now.step, "the source was given back: DynamoDB lacks what it took since"),
        place=place,
        hint="Restore the source from a backup or a replica. docs/cutover.md has what may be done without one.",
    )


def refuse_source_gone(now: Handover, command: str) -> None:
    """For commands that need the source."""
    if now.source_gone and now.step != FINISHED:
        raise HandoverError("the source was given up as gone", place=command, hint=f"Continue with: {FLAG}")


def unreachable(error: SourceUnreachable, now: Handover) -> SourceUnreachable:
    """What to do where the source does not answer though DynamoDB is open, or should be."""
    if now.step not in (DECIDED, OPEN, CLOSING):
        return error
    state = "takes writes" if now.step == OPEN else "takes no writes yet"
    hint = f"DynamoDB {state} (step {now.step}). If the source is gone for good: {FLAG}, see docs/cutover.md."
    return SourceUnreachable(error.message, place=error.place, hint=f"{error.hint} {hint}".strip(), code=error.code)


def _refuse_if_it_answers(project: Project, now: Handover) -> None:
    """Another server in its place says nothing."""
    try:
        with closing(connect(project.source)) as connection:
            server = server_info(connection).server_uuid
    except SourceUnreachable:
        return
    if server == now.server:
        raise HandoverError(
            "the source answers: it is not gone",
            place=f"{project.source.host}:{project.source.port}",
            hint="Run the command without --source-is-gone.",
        )
