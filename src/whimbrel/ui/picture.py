"""The live picture of a run on a terminal: a line, and two bars for each table."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whimbrel.migration.progress import Progress


class Picture:
    """On standard error, drawn again in its place between ``start`` and ``stop``, and removed then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.update("")
        self._live.stop()

    def say(self, message: str) -> None:
        """A line that stays, above the picture."""
        self._console.print(message)

    def show(self, line: str, progress: Progress) -> None:
        self._live.update(Group(Text(line), _bars(progress)))


def _bars(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, counts in progress.tables.items():
        estimated = max(counts.estimated_rows, counts.exported_rows, 1)  # the source's guess, until it is known
        grid.add_row(name, "exported", _bar(counts.exported_rows, estimated), f"{counts.exported_rows:,} rows")
        total = max(counts.exported_rows, 1)
        grid.add_row("", "loaded", _bar(counts.loaded_rows, total), f"{counts.loaded_items:,} items")
    return grid


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=total, completed=min(done, total), width=40)
