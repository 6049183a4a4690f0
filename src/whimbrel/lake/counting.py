"""How many rows a data set has. Of its base only the key columns are read."""

from __future__ import annotations

from pathlib import Path

from whimbrel.lake.datasets import home, select
from whimbrel.lake.duck import bounded
from whimbrel.lake.gone import are_few, gone
from whimbrel.lake.manifest import Manifest


def count_rows(folder: Path, manifest: Manifest) -> int:
    """Raises StateError when a file is gone."""
    query = f"SELECT count(*) FROM ({select(folder, manifest, manifest.key)})"
    if are_few(folder, manifest):
        stored = sum(file.rows for file in manifest.files)
        return stored - sum(len(rows) for _, rows in gone(folder, manifest))
    with bounded(home(folder, manifest.name)) as connection:
        [rows] = connection.execute(query).fetchone()
        return int(rows)
