"""How a command that takes long is shown, and how it is ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from whimbrel.cli.frame import keep_log
from whimbrel.cli.stopping import ENDS_WITHIN, interruptible
from whimbrel.migration.live import Asked
from whimbrel.migration.state import StateFolder
from whimbrel.project import Project
from whimbrel.ui.display import Display, pick

LISTED = 20  # differences, and batches, shown to a person; --json has more


@contextmanager
def shown(project: Project, as_json: bool, ends_within: float = ENDS_WITHIN) -> Iterator[Asked]:
    """Show the progress to the person, log what happens, and let a signal end it at a safe place."""
    keep_log(StateFolder(project.state).run_log)
    with interruptible(ends_within) as stop, Display(pick(as_json)) as display:
        yield Asked(stop, display.show)
