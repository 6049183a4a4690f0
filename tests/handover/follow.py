"""A process that follows the reverse stream until it is killed: ``python -m tests.handover.follow PROJECT STARTS``.

It says "following" once it has begun.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from whimbrel.handover.reverse import Reverse
from whimbrel.migration.prepare import prepare
from whimbrel.project import load_project

if __name__ == "__main__":
    starts = json.loads(Path(sys.argv[2]).read_text())
    reverse = Reverse(prepare(load_project(sys.argv[1])), 1, starts, threading.Event(), print)
    print("following", flush=True)
    reverse.follow()
