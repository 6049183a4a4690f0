"""Whether a state folder, a warehouse and a source belong together, asked before a silo is begun or continued."""

from __future__ import annotations

from contextlib import closing

from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.migration.prepare import followable, goes_on
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import connect
from whimbrel.notes import note
from whimbrel.project import Project
from whimbrel.warehouse.engine import Engine, EngineSession
from whimbrel.warehouse.ledger import FOLLOWING, Ledger, has_ledger, same_migration, silos_of
from whimbrel.warehouse.prepared import PreparedSilo
from whimbrel.warehouse.stored import same_settings


def note_left(project: Project, engine: Engine) -> None:
    """Name the silos that the warehouse has and the project file has not: renamed, or taken out."""
    if not engine.exists:
        return
    named = {silo.name for silo in project.silos} | {silo.name for silo in project.item_silos}
    with engine.session() as session:
        left = [name for name in silos_of(session) if name not in named] if has_ledger(session) else []
    for name in left:
        note(f"{name}: the warehouse has this silo, and the project file has not: its tables stay as they are")


def can_go_on(found: PreparedSilo, engine: Engine) -> None:
    """Raise what keeps ``converge`` from beginning the silo, or from continuing it. Nothing is written."""
    folder, ledger = StateFolder(found.prepared.project.state), Ledger(found.silo.name)
    now = checkpoint.load(folder.checkpoint)
    followable(found.prepared, now)
    if not engine.exists:
        _nothing_is_missed(found, now)
    else:
        with engine.session() as session:
            if not has_ledger(session):
                _nothing_is_missed(found, now)
                ledger.prove_free(session)
            elif not is_claimed(found, ledger, session, now):
                ledger.prove_free(session)
    with closing(connect(found.silo.source)) as connection:
        goes_on(found.prepared.project, connection)


def is_claimed(found: PreparedSilo, ledger: Ledger, session: EngineSession, now: Checkpoint) -> bool:
    """Whether the warehouse has the silo of this state folder. Raises WarehouseTaken, StateError where it has one, and
    the two do not belong together.
    """
    entry = ledger.read(session)
    if entry is None or (entry.migration != now.migration and ledger.is_dropped(session)):
        _nothing_is_missed(found, now)
        return False
    same_migration(entry, now.migration, found.silo.name)
    if now.phase == "apply" and entry.phase != FOLLOWING:
        hint = f"Restore warehouse and state folder from one copy, or {BEGIN_AGAIN}."
        raise StateError("the warehouse is older than the state folder", place=found.silo.name, hint=hint)
    for kept in ledger.tables(session).values():
        same_settings(found.engine, found.silo, kept.table)
    return True


def _nothing_is_missed(found: PreparedSilo, now: Checkpoint) -> None:
    if now.phase == "apply":
        hint = "Put the warehouse back, or remove the silo's state folder to begin it again."
        raise StateError("the warehouse has nothing of this silo any more", place=found.silo.name, hint=hint)
