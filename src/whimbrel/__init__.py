"""whimbrel: live MySQL and MariaDB data into Amazon DynamoDB, without a stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

__version__ = "0.1.0"


def query(sql: str, *, project: Path | str = "whimbrel.toml", as_of: str = "", dataset_id: str = "") -> pyarrow.Table:
    """The answer to ``sql`` over the project's data sets, as an Arrow table.

    ``as_of`` (ISO 8601) looks at every data set as it was then, ``dataset_id`` at one of them. Raises
    whimbrel.errors.UserError for SQL that cannot be answered.
    """
    from whimbrel.lake.sql import query as ask
    from whimbrel.project import load_project

    return ask(load_project(Path(project)), sql, as_of=as_of, identity=dataset_id)
