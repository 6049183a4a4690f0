"""A lake's tables as Athena has them: each data set as the snapshot of an Iceberg table, and the external tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from whimbrel.errors import UserError
from whimbrel.lake.athena import Athena
from whimbrel.lake.athena_types import Shown
from whimbrel.lake.iceberg_if_installed import need_iceberg
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.opened import OpenLake
from whimbrel.project import Project

if TYPE_CHECKING:
    import pyarrow


class OnAthena:
    """Raises what Athena raises, and UserError for a lake that Athena cannot read."""

    def __init__(self, project: Project, lake: OpenLake) -> None:
        if project.lake.store is None:
            hint = 'Set folder = "s3://BUCKET/PREFIX" in [lake].'
            raise UserError("Athena reads a lake in S3", place="--engine athena", hint=hint)
        self._project, self._lake = project, lake
        self._athena = Athena(project)

    @property
    def scanned(self) -> int:
        return self._athena.scanned

    def run(self, statement: str) -> None:
        """A statement about an external table, which Athena takes as it is."""
        self._athena.run(statement)

    def ask(
        self,
        statement: str,
        shown: Mapping[str, Manifest],
        columns: Mapping[str, Mapping[str, str]],
        empty: pyarrow.Table,
        types: Sequence[str],
    ) -> pyarrow.Table:
        """The answer, with the schema of ``empty``. ``shown`` has the data set of each name, ``columns`` those of every
        table, with DuckDB's types; ``types`` are those of the answer's columns.
        """
        text = statement.lower()
        tables = {
            name: Shown(found, self._snapshot(shown[name]) if name in shown else 0)
            for name, found in columns.items()
            if name.lower() in text
        }
        return self._athena.ask(statement, tables, empty, types)

    def _snapshot(self, manifest: Manifest) -> int:
        """Of the Iceberg table that is the data set."""
        if not any(each.name == manifest.name and each.publish for each in self._project.lake.datasets):
            hint = 'Set publish = "iceberg" in its [[dataset]], and convert it again.'
            raise UserError("the data set is not published for Athena", place=manifest.name, hint=hint)
        found: dict[str, int] = need_iceberg().snapshots(self._project, self._lake, manifest.name)
        if manifest.id not in found:
            hint = f"`whimbrel convert {manifest.table}` brings the table up to the current data set."
            raise UserError("the Iceberg table has no snapshot of the data set", place=manifest.id, hint=hint)
        return found[manifest.id]
