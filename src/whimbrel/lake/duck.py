"""DuckDB, opened in one way by all who use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from whimbrel.lake.need import need

MOST_BYTES = 96 << 20  # of memory, where DuckDB may put on disk what is more


def connect(threads: int = 0) -> Any:
    """A connection in memory, to be closed; ``threads`` 0: as many as there are processors.

    The progress bar, which DuckDB writes on standard output after two seconds of work, stays off. Raises UserError when
    DuckDB is not installed.
    """
    return _connected({"threads": threads} if threads else {})


@contextmanager
def bounded(folder: Path, threads: int = 1) -> Iterator[Any]:
    """A connection that has so many threads and MOST_BYTES, and puts into ``folder`` what it would need beyond that."""
    spill = folder / ".duckdb"
    try:
        settings = {"threads": threads, "memory_limit": f"{MOST_BYTES}B", "temp_directory": str(spill)}
        with closing(_connected(settings)) as connection:
            yield connection
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def give_back(connection: Any) -> None:
    """Have a ``bounded`` connection give free memory back to the system. DuckDB does so when the number of its threads
    changes. Else it keeps what it needed to read the footer of a wide file: some tens of megabytes.
    """
    connection.execute("SET threads = 2")
    connection.execute("SET threads = 1")


def _connected(settings: dict[str, Any]) -> Any:
    connection = need("duckdb", "lake").connect(config=settings)
    connection.execute("SET enable_progress_bar = false")
    return connection
