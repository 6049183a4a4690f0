"""A process that follows the reverse stream until it is killed: ``python -m tests.handover.follow PROJECT STARTS``.

It says "following" once it has begun. All the while it compares what was touched, as a rollback does before the end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import SourceUnreachable, TargetUnreachable
from whimbrel.handover import early as early_module
from whimbrel.handover import look
from whimbrel.handover.early import Early
from whimbrel.handover.reverse import Reverse
from whimbrel.migration.prepare import prepare
from whimbrel.project import load_project


def compare(early: Early) -> None:
    while True:
        with suppress(SourceUnreachable, TargetUnreachable):  # it was killed
            early.until_few(lambda done, of: None)
        time.sleep(0.02)


if __name__ == "__main__":
    starts = json.loads(Path(sys.argv[2]).read_text())
    prepared = prepare(load_project(sys.argv[1]))
    reverse = Reverse(prepared, 1, starts, threading.Event(), print)
    look.AT_ONCE, early_module.FEW = 2, 0  # of the few items that there are
    wire = DynamoClient(prepared.project.target)
    early = Early(look.Site(prepared, 1, wire, threading.Event()), reverse.letters.has)
    threading.Thread(target=compare, args=(early,), daemon=True).start()
    print("following", flush=True)
    reverse.follow()
