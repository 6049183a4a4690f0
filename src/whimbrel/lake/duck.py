"""DuckDB, opened in one way by all who use it."""

from __future__ import annotations

from typing import Any

from whimbrel.lake.need import need


def connect(threads: int = 0) -> Any:
    """A connection in memory, to be closed; ``threads`` 0: as many as there are processors.

    The progress bar, which DuckDB writes on standard output after two seconds of work, stays off. Raises UserError when
    DuckDB is not installed.
    """
    connection = need("duckdb", "lake").connect(config={"threads": threads} if threads else {})
    connection.execute("SET enable_progress_bar = false")
    return connection
