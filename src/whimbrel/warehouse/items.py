"""A silo of DynamoDB tables: each goes through the lake, by an export (whole, then what changed) and a data set, whose
rows replace those of the warehouse in one transaction.

How a table is exported, and what becomes of its attributes, is the lake's own: docs/lake.md. What the warehouse has is
named by the data set's id, so that nothing is written again that is there.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from whimbrel.checkpoint import Checkpoint, RunLock, TableProgress
from whimbrel.errors import BEGIN_AGAIN, NotYet, StateError, UnsupportedSource, WarehouseError
from whimbrel.lake import datasets
from whimbrel.lake.duck import bounded
from whimbrel.lake.manifest import Field, Manifest
from whimbrel.lake.opened import open_lake
from whimbrel.lake.refused import Refused, read_refused, where
from whimbrel.lake.table import make_dataset, make_export, rule_for
from whimbrel.lake.types import Type, parse_type
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.notes import note
from whimbrel.project import ItemSilo, Project
from whimbrel.records import Column, Row
from whimbrel.warehouse.engine import Engine, EngineSession, count_stored
from whimbrel.warehouse.ledger import FOLLOWING, KeptTable, Ledger, same_migration
from whimbrel.warehouse.names import LONGEST, OF_THE_ENGINE
from whimbrel.warehouse.patience import patiently
from whimbrel.warehouse.put import insert
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.types import form_in, sql_of

ROWS = 2_000  # that are read, and handed over, at once


class ItemSiloRun:
    """Holds the silo's run lock. ``stop`` ends it soon. Raises Locked when another process is at work."""

    def __init__(
        self, project: Project, silo: ItemSilo, engine: Engine, progress: Progress, stop: threading.Event
    ) -> None:
        self.silo, self._project, self._engine = silo, project, engine
        self.progress, self._stop = progress, stop
        self._folder = StateFolder(project.state).silo(silo.name)
        self._ledger = Ledger(silo.name)
        self._noted: set[str] = set()
        self._as_of: dict[str, float] = {}  # by table: the moment that its rows in the warehouse are of

    def __enter__(self) -> ItemSiloRun:
        self._folder.make()
        self._lock = RunLock(self._folder.root)
        try:
            self._checkpoints = CheckpointStore(self._folder.checkpoint)
            self._claim(self._checkpoints)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def refresh(self) -> None:
        """Export, convert and carry each table, unless ``stop`` is set. Returns early when it is."""
        for table in self.silo.tables:
            if self._stop.is_set():
                return
            self.progress.note = f"{self.silo.name}: exporting {table}"
            with self._unless_too_early():
                make_export(self._project, table, stop=self._stop)
            with self._unless_too_early():
                made = make_dataset(self._project, table, self._stop)
                self._note(refused_note(self.silo, table, made.manifest, made.refused))
                patiently(partial(self._carry, table, made.manifest), self._read_ledger, self.progress, self._stop)
        if self._stop.is_set():
            return
        self._save_carried()
        self.progress.note, self.progress.phase = "", "apply"
        self.progress.capture_idle, self.progress.asked = True, time.monotonic()

    @contextmanager
    def _unless_too_early(self) -> Iterator[None]:
        """What is there stays as it is until the next time: a table without items is no reason to stop all silos."""
        try:
            yield
        except NotYet as early:
            self._note(f"{self.silo.name}: {early.place}: {early.message}")

    def _note(self, said: str) -> None:
        """Once, however often it is found."""
        if said and said not in self._noted:
            note(said)
            self._noted.add(said)

    def _save_carried(self) -> None:
        """For whoever asks how far it is. What is in the warehouse, the warehouse says."""
        if not self._as_of:
            return
        rows = {name: each.loaded_rows for name, each in self.progress.tables.items()}
        tables = {f"dynamodb.{name}": TableProgress(rows_exported=rows[name]) for name in sorted(rows)}
        fresh = replace(
            self._checkpoints.now, phase="apply", tables=tables, applied_timestamp=min(self._as_of.values())
        )
        if fresh != self._checkpoints.now:
            self._checkpoints.save(fresh)

    def _read_ledger(self) -> None:
        with self._engine.session() as session:
            self._ledger.read(session)

    def follow(self) -> None:
        """Again and again, until ``stop`` is set."""
        while not self._stop.wait(self.silo.every):
            self.refresh()

    def _carry(self, table: str, manifest: Manifest) -> None:
        self.progress.phase = "load" if self.progress.phase != "apply" else "apply"
        with self._engine.session() as session:
            there = self._ledger.chunks(session, table)
            if manifest.id in there and table.lower() in self._ledger.tables_there(session):
                self._carried(table, manifest, there[manifest.id][1])
                return
            stored = stored_items(self._engine.name, self.silo, table, manifest)
            with session.transaction():
                self._empty(session, stored)
                count = self._insert(session, stored, manifest)
                self._agree(session, stored, manifest, count)
                self._ledger.forget_chunks(session, table)
                self._ledger.add_chunk(session, table, manifest.id, 1, count)
                fresh = self._ledger.advance(session, replace(self._ledger.now, phase=FOLLOWING))
            self._ledger.advanced(fresh)
        self.progress.applied += 1
        self.progress.captured = self.progress.applied
        self._carried(table, manifest, count)

    def _carried(self, table: str, manifest: Manifest, rows: int) -> None:
        self._as_of[table] = datetime.fromisoformat(manifest.as_of).timestamp()
        self.progress.tables[table] = TableCounts(rows, rows, rows, rows)
        self.progress.applied_time = min(self._as_of.values())

    def _empty(self, session: EngineSession, stored: StoredTable) -> None:
        """The table is there, without rows. One of the same columns stays: somebody's view may ask it."""
        made = self._ledger.tables(session).get(stored.source)
        if made and made.table == stored and stored.name in self._ledger.tables_there(session):
            session.execute(f"DELETE FROM {stored.quoted}")
            return
        session.execute(f"DROP TABLE IF EXISTS {stored.quoted}")
        session.create(stored)
        self._ledger.put_table(session, KeptTable(stored))

    def _insert(self, session: EngineSession, stored: StoredTable, manifest: Manifest) -> int:
        count = 0
        with dataset_rows(self._project, manifest) as parts:
            for rows in parts:
                insert(session, stored, rows)
                count += len(rows)
        return count

    def _agree(self, session: EngineSession, stored: StoredTable, manifest: Manifest, count: int) -> None:
        counted = count_stored(session, stored)
        if not count == counted == manifest.rows:
            raise WarehouseError(
                f"the data set has {manifest.rows:,} rows, {count:,} were read, and the table has {counted:,}",
                place=stored.full_name,
                hint="Nothing of it was kept. Convert the exports again, and please report this.",
            )

    def _claim(self, checkpoints: CheckpointStore) -> None:
        """The order matters: nothing is claimed before the state folder knows by what name."""
        same_kind(checkpoints.now, self._folder)
        if not checkpoints.now.migration:
            checkpoints.save(replace(checkpoints.now, migration=secrets.token_hex(8), phase="load"))
        with self._engine.session() as session:
            if not is_claimed(self._ledger, session, checkpoints.now, self.silo.name):
                with session.transaction():
                    self._ledger.claim(session, checkpoints.now.migration)


def same_kind(now: Checkpoint, folder: StateFolder) -> None:
    """Raises StateError where the state folder is of a silo of MySQL or MariaDB."""
    if now.start is not None:
        hint = f"Give the silo another name, or {BEGIN_AGAIN}."
        raise StateError("it was begun as a silo of a MySQL or MariaDB database", place=str(folder.root), hint=hint)


def is_claimed(ledger: Ledger, session: EngineSession, now: Checkpoint, silo: str) -> bool:
    """Whether the warehouse has the silo of this state folder. Raises WarehouseTaken, StateError."""
    entry = ledger.read(session)
    if entry is None or ledger.is_dropped(session):
        return False
    same_migration(entry, now.migration, silo)
    return True


def refused_note(silo: ItemSilo, table: str, manifest: Manifest, refused: Sequence[Refused]) -> str:
    """How many items the warehouse has not, and which one is the first; "" where it has all."""
    if not refused:
        return ""
    first = f"{where(refused[0])}: {refused[0].reason}"
    return f"{silo.name}: {table}: items that are not in the data set: {manifest.refused:,}. The first: {first}"


@contextmanager
def dataset_rows(project: Project, manifest: Manifest) -> Iterator[Iterator[list[Row]]]:
    """The rows of a data set, their values as records.py has them; lists and maps as JSON."""
    selected = ", ".join(_selected(field) for field in manifest.schema)
    with open_lake(project) as lake, bounded(lake.folder / "warehouse-spill") as connection:
        lake.have(manifest)
        query = datasets.select(lake.folder, manifest)
        cursor = connection.execute(f"SELECT {selected} FROM ({query}) AS items")
        yield _parts(cursor)


def _parts(cursor: Any) -> Iterator[list[Row]]:
    while rows := cursor.fetchmany(ROWS):
        yield rows


def current_dataset(project: Project, table: str, identity: str = "") -> Manifest:
    """Or the one of that ``identity``. Raises UserError where there is none."""
    with open_lake(project) as lake:
        name = rule_for(project, table).name
        lake.look(name)
        return datasets.at(lake.folder, name, identity=identity) if identity else datasets.current(lake.folder, name)


def refused_of(project: Project, manifest: Manifest) -> list[Refused]:
    """What is not in the data set, as far as it is named."""
    with open_lake(project) as lake:
        lake.have(manifest)
        return read_refused(lake.folder, manifest) if manifest.refused else []


def stored_items(engine: str, silo: ItemSilo, table: str, manifest: Manifest) -> StoredTable:
    """The table in the warehouse. Raises UnsupportedSource for names that cannot be there."""
    columns = tuple(_column(engine, field) for field in manifest.schema)
    names = [column.name.casefold() for column in columns]
    for name in (table, *names):
        fault = ""
        if len(name.encode()) > LONGEST or names.count(name) > 1:
            fault = f"the name {name!r} is too long, or another one only by its letter case"
        elif name in names and name in OF_THE_ENGINE[engine]:
            fault = f"the engine has {name!r} for itself"
        if fault:
            raise UnsupportedSource(
                fault,
                place=f"{silo.name}: {table}",
                hint="Leave the attribute out: exclude in the table's [[dataset]].",
            )
    return StoredTable(silo.name, table.lower(), ("dynamodb", table), columns, tuple(map(str.lower, manifest.key)))


def _column(engine: str, field: Field) -> StoredColumn:
    found = _carried(parse_type(field.type))
    form = form_in(engine, found.form)
    kind = "binary" if form == "bytes" else found.form
    source = Column(field.name, kind, precision=found.precision, scale=found.scale, type_name="bigint")
    return StoredColumn(field.name.lower(), source, form, sql_of(engine, form, source))


@dataclass(frozen=True, slots=True)
class _Carried:
    form: str
    precision: int = 0
    scale: int = 0


def _carried(kind: Type) -> _Carried:
    if kind.kind == "decimal":
        return _Carried("decimal", kind.precision, kind.scale)
    forms = {"int64": "int", "double": "double", "approximate": "double", "bool": "bool", "binary": "bytes"}
    forms |= {"string": "text", "number": "text"}
    return _Carried(forms.get(kind.kind, "json"))


def _selected(field: Field) -> str:
    name, kind = datasets.quoted(field.name), parse_type(field.type).kind
    if kind in ("list", "struct"):
        return f"CAST(to_json({name}) AS VARCHAR)"
    return f"CAST({name} AS VARCHAR)" if kind in ("decimal", "json") else name
