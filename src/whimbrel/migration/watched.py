"""A capture and the watch over its source, which begin and end together."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.migration.capture import Capture
from whimbrel.migration.watch import SourceWatch


@dataclass(frozen=True, slots=True)
class WatchedCapture:
    """Each in a thread of its own."""

    capture: Capture
    watch: SourceWatch

    def start(self) -> None:
        self.capture.start()
        self.watch.start()

    def stop(self) -> None:
        self.watch.stop()
        self.capture.stop()

    def check(self) -> None:
        """Raise what ended the capture, or what the watch found, if something did."""
        self.capture.check()
        self.watch.check()

    def ask_source(self) -> None:
        """Ask the source once more whether all that this rests on is still so. Raises what is not."""
        self.watch.ask()
