"""How a run's figures moved, a line each few seconds: for curves. Nothing is decided by it, so it need not be durable,
and what cannot be read is left out.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 4 << 20  # of the file; then its older half goes
NAMES = (
    *("phase", "lag_seconds", "lag_changes", "caught_up", "rows_per_second", "items_per_second"),
    *("captured_per_second", "applied_per_second", "write_units_per_second", "throttles", "throttles_per_second"),
    *("source_threads", "source_queries_per_second"),
)


class FigureFile:
    """Written by one process at a time; two at once mix their lines, which harms nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, figures: dict[str, Any]) -> None:
        line = json.dumps({"time": round(time.time(), 1)} | {name: figures.get(name) for name in NAMES})
        with suppress(OSError):  # a full disk is found out by who must write
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                full = file.tell() > MOST_BYTES
            if full:
                self._halve()

    def _halve(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(lines[len(lines) // 2 :]))
        fresh.replace(self._path)


def read_figures(path: Path, since: float = 0.0, most: int = 600) -> list[dict[str, Any]]:
    """The figures from ``since`` on (seconds since the epoch), oldest first, thinned out to at most ``most``: of
    neighbours, the one with the worst lag is kept.
    """
    found = []
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
        for line in file:
            with suppress(ValueError, TypeError, KeyError):
                values = json.loads(line)
                if float(values["time"]) >= since:
                    found.append(values)
    step = max(1, -(-len(found) // most))
    return [_worst(found[start : start + step]) for start in range(0, len(found), step)]


def _worst(some: list[dict[str, Any]]) -> dict[str, Any]:
    return max(some, key=lambda each: (each.get("lag_seconds") or 0.0, each.get("lag_changes") or 0))
