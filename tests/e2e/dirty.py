"""What a state folder says of items that may have changed, and a verification of only those, as a cutover does it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from unittest import mock

from tests.e2e.work import Work
from whimbrel.migration import verify
from whimbrel.migration.differences import TableReport
from whimbrel.migration.dirty import Dirty
from whimbrel.migration.follow import Follower
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.migration.verified import Verified, read_verified
from whimbrel.mysql.connect import connect
from whimbrel.project import load_project
from whimbrel.records import Position


def prepared_of(work: Work) -> Any:
    with mock.patch.dict("os.environ", WHIMBREL_SOURCE_PASSWORD=work.source.password):
        return prepare(load_project(work.folder / "whimbrel.toml"))


def dirty(work: Work) -> Dirty:
    return verify.dirty_items(prepared_of(work))


def dirty_keys(work: Work) -> set[tuple[str, ...]]:
    """The values of the keys, which must be known."""
    found = dirty(work)
    assert not found.everything, found.everything
    keys = [json.loads(text) for text in found.texts.get(work.target, ())]
    return {tuple(value["S"] for value in key.values()) for key in keys}


def verified(work: Work) -> Verified | None:
    return read_verified(work.state)


def quick(work: Work, *, still: bool = False) -> TableReport:
    """A round: the items that are dirty, beside the applier. ``still``: at the source's end, which nobody moves."""
    prepared, progress, stop = prepared_of(work), Progress(), threading.Event()
    with Run(prepared, stop, progress) as run:
        run.start_capture()
        with Follower(run):
            end: Position | None = None
            if still:
                connection = connect(prepared.project.source)
                end = run.lineage.end_of(connection)
                connection.close()
            assert run.dirty is not None
            run.dirty.cut()
            found = verify.dirty_items(prepared)
            (report,) = verify.verify_keys(
                prepared, found, run.wire, lambda: progress.applied_position, stop, progress, still=end
            )
    return report


def verify_and_wait(work: Work) -> None:
    """Until a later second of the clock: a stream tells the seconds of its changes."""
    work.verify()
    begun = verified(work)
    assert begun is not None
    work.wait_for(lambda: int(time.time()) > int(begun.time))
