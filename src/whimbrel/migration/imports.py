"""``load.engine = "import"``: DynamoDB makes each target table of files in the bucket.

The order, for each target; each step is saved before the next begins, in ``imports.json``, and a run that ends between
two continues with the next::

    token ──► files (in the Checkpoint, as loaded parts) ──► complete ──► ImportTable ──► its ARN ──► its end
                                                                                  ──► the table's identity

The token names the files, and is the call's own: a call that nobody knows the answer of is made again with it. A table
is ours when its identity is in the Checkpoint, which is when the import's counts are those of the files.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whimbrel.bucket import Bucket
from whimbrel.durable import read_sealed, replace_file, sealed_json, writing
from whimbrel.dynamodb.imports import (
    COMPLETED,
    Imported,
    begin_import,
    folder_of,
    followed,
    import_request,
    refuse_table,
    refuse_too_much,
)
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import describe, id_of, new_table
from whimbrel.errors import MappingError, StateError, Stopped, TargetError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target, indexes_of
from whimbrel.migration.import_files import ImportFiles, files_of
from whimbrel.migration.run import Run

FORMAT = "whimbrel-imports/1"


@dataclass(frozen=True, slots=True)
class ImportState:
    """How far the import of one target is. ``items`` and ``files`` are those of all its files, -1 until these are
    complete; ``asked`` counts the calls of ImportTable that had an end, ``arn`` is that of the one under way.
    """

    token: str
    items: int = -1
    files: int = -1
    asked: int = 0
    arn: str = ""


class ImportStates:
    """By target; ``put`` is durable when it returns. Raises LogCorrupt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now: dict[str, ImportState] = {}
        if path.exists():
            hint = "Restore it from a copy of the state folder, or set the folder aside and begin again."
            document = read_sealed(path, FORMAT, hint)
            self.now = {name: ImportState(**fields) for name, fields in document["targets"].items()}

    def put(self, target: str, state: ImportState | None) -> None:
        """None forgets it."""
        self.now = {name: each for name, each in {**self.now, target: state}.items() if each is not None}
        document = {"format": FORMAT, "targets": {name: asdict(each) for name, each in self.now.items()}}
        with writing(self._path):
            replace_file(self._path, sealed_json(document))


def import_faults(mappings: Sequence[TableMapping]) -> Iterator[MappingError]:
    """What of the mappings an import cannot do, for each target."""
    hint = 'Set engine = "process" in [load].'
    for target, mine in by_target(mappings).items():
        if any(each.shared for each in mine):
            message = "rows of several tables make one item, and an import writes whole items"
            yield MappingError(message, place=target, hint=hint)
        if any(each.rule.condition and each.rule.condition.load for each in mine):
            message = "an import asks no condition of [table.condition] before it writes"
            yield MappingError(message, place=target, hint=hint)
        if local := [index.name for index in indexes_of(mine) if index.local]:
            message = f"an import makes no local secondary index, and {local[0]!r} is one"
            yield MappingError(message, place=target, hint=hint)


def load_engine(run: Run) -> None:
    """Load as the project's ``load.engine`` says. Raises as ``Run.load`` does, and what an import can meet."""
    if run.phase == "load" and run.prepared.project.loader == "import":
        assert run.bucket, "the project file was refused without one"
        load_by_import(run, run.bucket)
    elif run.phase == "load":
        refuse_import_under_way(run)
    run.load()


def load_by_import(run: Run, bucket: Bucket) -> None:
    """The target tables with all their items. Raises Stopped, TargetNotEmpty, TargetError."""
    mappings = list(run.prepared.mappings.values())
    for fault in import_faults(mappings):
        raise fault
    for target, mine in by_target(mappings).items():
        if not all(run.checkpoints.now.table(each.source).target_id for each in mine):
            _Import(run, bucket, target, mine).load()


def refuse_import_under_way(run: Run) -> None:
    """For a load without one: files that were made for an import are in no table. Raises StateError."""
    states = ImportStates(run.folder.imports)
    for target, state in states.now.items():
        mine = [each for each in run.prepared.mappings.values() if each.target == target]
        if all(run.checkpoints.now.table(each.source).target_id for each in mine):
            continue
        if state.items >= 0:
            raise StateError(
                "an import of this table was begun, and its end is not known",
                place=target,
                hint='Set engine = "import" in [load] again, until it has ended.',
            )
        _start_over(run, mine)
        states.put(target, None)


class _Import:
    """Of one target, by the mappings ``mine``."""

    def __init__(self, run: Run, bucket: Bucket, target: str, mine: Sequence[TableMapping]) -> None:
        self._run, self._bucket, self._target, self._mine = run, bucket, target, mine
        self._session = Session(run.prepared.project.target)
        self._client: Any = self._session.client()
        self._states = ImportStates(run.folder.imports)

    def load(self) -> None:
        state = self._states.now.get(self._target)
        if state is None or (state.items < 0 and not self._written()):  # or it was begun on another machine
            state = self._begun()
        if state.items < 0:
            self._write(state)
            state = self._completed(state)
        arn = state.arn or begin_import(self._client, self._request(state), self._run.stop.wait)
        self._save(replace(state, arn=arn))
        found = followed(self._client, arn, self._target, self._run.stop.wait, self._show)
        self._run.progress.job = ""
        if found.has_all(state.items):
            self._take()
        else:
            self._refuse(replace(state, arn=arn), found)

    def _begun(self) -> ImportState:
        refuse_table(self._client, self._target)
        return self._save(ImportState(secrets.token_hex(8)))

    def _written(self) -> bool:
        return any(self._run.checkpoints.now.table(each.source).loaded for each in self._mine)

    def _prefix(self, state: ImportState) -> str:
        return folder_of(state.token)

    def _write(self, state: ImportState) -> None:
        run = self._run

        def files(mapping: TableMapping) -> ImportFiles:
            prefix = self._prefix(state)
            counts = run.dead, run.checkpoints, run.progress, run.stop, run.of_snapshot
            return ImportFiles(mapping, self._bucket, prefix, *counts, run.sure)

        for each in self._mine:
            run.load_whole(each.source, files)
            if run.stop.is_set():
                raise Stopped("asked to stop before the files of the import were complete", place=self._target)

    def _completed(self, state: ImportState) -> ImportState:
        """All that is there is what was counted: DynamoDB reads whatever is below the prefix."""
        sizes = [size for _, size in self._bucket.list(self._prefix(state))]
        hint = 'Set engine = "process" in [load]; nothing was written to the target.'
        refuse_too_much(sizes, self._session.region, self._target, hint)
        progress = [self._run.checkpoints.now.table(each.source) for each in self._mine]
        wanted = sum(files_of(each, done) for each, done in zip(self._mine, progress, strict=True))
        if wanted != len(sizes):
            message = f"{len(sizes):,} files are there, and {wanted:,} were written"
            hint = f"Remove {self._bucket.url(self._prefix(state))} and the state folder, and begin again."
            raise StateError(message, place=self._target, hint=hint)
        return self._save(replace(state, items=sum(each.items_loaded for each in progress), files=len(sizes)))

    def _request(self, state: ImportState) -> dict[str, Any]:
        first = self._mine[0]
        target = self._run.prepared.project.target
        table = new_table(self._target, first.key_attributes, target, indexes_of(self._mine))
        token = f"{state.token}-{state.asked}"
        return import_request(self._bucket.store, self._prefix(state), token, table)

    def _show(self, found: Imported) -> None:
        self._run.progress.job = f"{self._target}: DynamoDB has imported {found.written:,} items"

    def _take(self) -> None:
        """The table is ours from here on."""
        identity, now = id_of(describe(self._client, self._target)), self._run.checkpoints.now
        for each in self._mine:
            now = now.with_table(each.source, replace(now.table(each.source), target_id=identity))
        self._run.checkpoints.save(now)

    def _refuse(self, state: ImportState, found: Imported) -> None:
        """Not all that was written came in. What was asked for is over: the next run asks again, by another token."""
        if found.status != COMPLETED and not found.written:
            self._save(replace(state, arn="", asked=state.asked + 1))
            hint = "Fix what it says, remove the table if it is there, and run the same command again."
            raise TargetError(f"the import ended as {found.status}: {found.failure}", place=self._target, hint=hint)
        self._take()
        _start_over(self._run, self._mine)
        self._states.put(self._target, None)
        raise TargetError(
            f"DynamoDB read {found.processed:,} of {state.items:,} items and imported {found.written:,}; "
            f"{found.errors:,} were refused ({found.failure or found.status}); its log is {found.log}",
            place=self._target,
            hint='Set engine = "process" in [load] and run the same command again: it writes all items into the table, '
            "and keeps as dead letters what DynamoDB refuses.",
        )

    def _save(self, state: ImportState) -> ImportState:
        """Durable here and in the bucket when it returns."""
        if self._states.now.get(self._target) != state:
            self._states.put(self._target, state)
            self._run.checkpoints.keep()
        return state


def _start_over(run: Run, mappings: Sequence[TableMapping]) -> None:
    """Nothing of the export counts as loaded any more."""
    now = run.checkpoints.now
    for each in mappings:
        fresh = replace(now.table(each.source), loaded=frozenset(), rows_loaded=0, items_loaded=0)
        now = now.with_table(each.source, fresh)
        counts = run.progress.tables[each.source]
        counts.loaded_rows = counts.loaded_items = 0
    run.checkpoints.save(now)
