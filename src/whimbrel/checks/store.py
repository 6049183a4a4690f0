"""The bucket of the snapshot, and what an import would make: as ``migrate`` asks before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.checks.findings import Finding, finding
from whimbrel.dynamodb.imports import refuse_table
from whimbrel.dynamodb.session import open_client
from whimbrel.errors import TargetNotEmpty, WhimbrelError
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.imports import import_faults
from whimbrel.migration.kept_state import adoptable, newest_number, open_bucket
from whimbrel.project import Project


def store_findings(project: Project, mappings: Sequence[TableMapping], *, begun: bool) -> Iterator[Finding]:
    """``begun``: a migration is under way, and what is there is its own."""
    try:
        if bucket := open_bucket(project):
            newest_number(bucket) if begun else adoptable(bucket)
    except WhimbrelError as error:
        yield finding("snapshot-store", error.place or "snapshot.store", error.message, error.hint)
    if project.loader == "import":
        yield from _import_findings(project, mappings, begun=begun)


def _import_findings(project: Project, mappings: Sequence[TableMapping], *, begun: bool) -> Iterator[Finding]:
    for fault in import_faults(mappings):
        yield finding("target-import", fault.place, fault.message, fault.hint)
    try:
        client = open_client(project.target)
        for target in sorted({each.target for each in mappings} if not begun else ()):
            refuse_table(client, target)
    except TargetNotEmpty as error:
        yield finding("target-import", error.place, error.message, error.hint)
    except WhimbrelError:
        return  # said where the target is looked at
