"""What ``whimbrel status`` sees of a process, while it is at work and afterwards."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from whimbrel.migration.live import Live, read_last_status, read_status
from whimbrel.migration.progress import Progress
from whimbrel.migration.state import StateFolder


def test_a_process_that_has_ended_is_not_running(tmp_path: Path) -> None:
    folder, told = StateFolder(tmp_path), threading.Event()
    with Live(Progress(phase="verify"), folder, threading.Event(), lambda _: told.set()):
        assert told.wait(10)
        assert read_status(folder) is not None
    assert read_status(folder) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.jsonl", "last-status.json"]
    assert read_last_status(folder)["phase"] == "verify"


def test_the_figures_of_another_process_stay(tmp_path: Path) -> None:
    folder, told = StateFolder(tmp_path), threading.Event()
    with Live(Progress(phase="verify"), folder, threading.Event(), lambda _: told.set()):
        assert told.wait(10)
        theirs = json.loads(folder.status.read_text()) | {"pid": 1}
        folder.status.write_text(json.dumps(theirs))
    assert read_status(folder) == theirs
