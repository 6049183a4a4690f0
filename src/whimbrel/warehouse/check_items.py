"""Whether tables of DynamoDB can be carried: each is there, may be read or exported, and has names that the warehouse
can have.
"""

from __future__ import annotations

from dataclasses import replace

from whimbrel import checkpoint
from whimbrel.errors import UserError
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.table import prove_export
from whimbrel.migration.state import StateFolder
from whimbrel.project import ItemSilo, Project
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.items import current_dataset, is_claimed, same_kind, stored_items
from whimbrel.warehouse.ledger import Ledger, has_ledger
from whimbrel.warehouse.stored import StoredTable


def check_items(project: Project, silo: ItemSilo, engine: Engine) -> list[tuple[StoredTable, int]]:
    """Each table as it would be made, without columns before it was exported; and how many items it has, about. Raises
    what ``converge`` would raise. Nothing is written.
    """
    folder, ledger = StateFolder(project.state).silo(silo.name), Ledger(silo.name)
    now = checkpoint.load(folder.checkpoint)
    same_kind(now, folder)
    if engine.exists:
        with engine.session() as session:
            if not has_ledger(session) or not is_claimed(ledger, session, now, silo.name):
                ledger.prove_free(session)
    return [_checked(project, silo, table, engine) for table in silo.tables]


def _checked(project: Project, silo: ItemSilo, table: str, engine: Engine) -> tuple[StoredTable, int]:
    found = prove_export(project, table)
    key = tuple(name for name, _ in found.key)
    try:
        manifest = current_dataset(project, table)
    except UserError:  # none yet
        empty = Manifest("", table, table, "", "", (), (), 0, key=key)
        return stored_items(engine.name, silo, table, empty), found.items
    return stored_items(engine.name, silo, table, replace(manifest, key=manifest.key or key)), found.items
