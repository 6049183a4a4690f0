"""``whimbrel restore --import``: DynamoDB makes the table of files in the bucket of ``snapshot.store``.

An import takes each key once, so the exports are folded first: on disk, by a hash of the keys, each partition becoming
a file of the import. The order, with each step saved before the next begins::

    token ──► files ──► how many items they have ──► ImportTable ──► its ARN ──► its end ──► all of this removed

A call that nobody knows the answer of is made again with the same token. The counts decide at the end, not the status.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from whimbrel.bucket import Bucket, bucket_of
from whimbrel.durable import read_sealed, replace_file, sealed_json, writing
from whimbrel.dynamodb.imports import (
    Imported,
    ItemFile,
    begin_import,
    folder_of,
    followed,
    import_request,
    refuse_table,
    refuse_too_much,
)
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import new_table
from whimbrel.errors import ProjectError, Stopped, TargetError
from whimbrel.item import identified_by, unfit
from whimbrel.lake.inside import child
from whimbrel.lake.opened import lake_folder
from whimbrel.lake.refused import Refused, shown_text
from whimbrel.lake.restore import Chosen, Restored, operations
from whimbrel.project import IndexRule, Project
from whimbrel.records import Put
from whimbrel.spill import PartitionFiles

FORMAT = "whimbrel-restore/1"
PASS_BYTES = 32 << 20  # of items that are folded in memory at once
UNPACKED = 8  # times the bytes that the files of an export have
MOST_PARTITIONS = 2_000


@dataclass(frozen=True, slots=True)
class RestoreState:
    """``of`` says what is restored; ``items`` are those of all files, -1 until these are complete."""

    of: str
    token: str
    items: int = -1
    arn: str = ""
    refused: tuple[Refused, ...] = ()


def restore_by_import(
    project: Project, exported: str, chosen: Chosen, stop: threading.Event, on_items: Callable[[int], None]
) -> Restored:
    """``exported`` is the table that the exports are of: the project file says which indexes it has. May be repeated
    after a stop. Raises ProjectError, TargetNotEmpty, TargetError, Stopped, StateError.
    """
    if project.store is None:
        raise ProjectError(
            "an import needs a bucket",
            place=str(project.path),
            hint='Set store = "s3://BUCKET/PREFIX" in [snapshot], or leave --import out.',
        )
    bucket = bucket_of(project.store, project.target)
    bucket.attend(stop)
    return _RestoreImport(project, bucket, exported, chosen, stop, on_items).restore()


class _RestoreImport:
    def __init__(
        self,
        project: Project,
        bucket: Bucket,
        exported: str,
        chosen: Chosen,
        stop: threading.Event,
        on_items: Callable[[int], None],
    ) -> None:
        self._project, self._bucket, self._chosen, self._stop = project, bucket, chosen, stop
        self._on_items = on_items
        self._indexes = indexes_of(project, exported)
        self._session = Session(project.target)
        self._client: Any = self._session.client()
        self._folder = child(lake_folder(project) / "restores", chosen.table)
        self._path = self._folder / "restore.json"

    def restore(self) -> Restored:
        state, of = _load(self._path), self._digest()
        if state is None or state.of != of or state.items < 0:
            self._forget(state)
            refuse_table(self._client, self._chosen.table)
            state = self._save(RestoreState(of, secrets.token_hex(8)))
            state = self._written(state)
        if not state.arn:
            arn = begin_import(self._client, self._request(state), self._stop.wait)
            state = self._save(replace(state, arn=arn))
        found = followed(self._client, state.arn, self._chosen.table, self._stop.wait, lambda _: None)
        self._forget(state)
        if not found.has_all(state.items):
            raise _refusal(self._chosen.table, state, found)
        return Restored(created=True, puts=found.written, refused=list(state.refused))

    def _digest(self) -> str:
        """The same for the same files into the same table."""
        files = [(each.path.name, each.size) for each in self._chosen.files]
        said = orjson.dumps([self._chosen.table, [list(each) for each in self._chosen.key], files])
        return blake2b(said, digest_size=16).hexdigest()

    def _written(self, state: RestoreState) -> RestoreState:
        """All files, durable."""
        refused: list[Refused] = []
        spill = self._folder / "restore.spill"
        shutil.rmtree(spill, ignore_errors=True)  # what a crash left
        sizes = sum(each.size for each in self._chosen.files)
        partitions = min(MOST_PARTITIONS, 1 + sizes * UNPACKED // PASS_BYTES)
        items = 0
        try:
            with PartitionFiles(spill, partitions) as folded:
                self._spread(folded, refused)
                for number, records in enumerate(folded.in_passes(), 1):
                    items += self._one_file(f"{self._prefix(state)}{number:05d}.json.gz", records, refused)
        finally:
            shutil.rmtree(spill, ignore_errors=True)
        self._refuse_more_than_an_import_takes(state)
        return self._save(replace(state, items=items, refused=tuple(refused)))

    def _spread(self, folded: PartitionFiles, refused: list[Refused]) -> None:
        """Each operation to its key's partition, in the order of the exports. A deletion has an empty record."""
        chosen = self._chosen
        identity = identified_by(chosen.key)
        for (source, line), operation in operations(
            chosen.files, chosen.table, [name for name, _ in chosen.key], refused
        ):
            if self._stop.is_set():
                raise Stopped("asked to stop before the files of the import were complete", place=chosen.table)
            item = line.record.item if line.record else None
            if item is None:
                folded.add(identity(operation.key), b"")
            elif reason := unfit(operation.key, item, self._index_types):  # DynamoDB would only count it
                told = Refused(source.place, line.number, operation.key, reason, shown_text(line.text))
                refused.append(told)
            else:
                folded.add(identity(operation.key), orjson.dumps([operation.key, item]))

    def _one_file(self, name: str, records: Iterator[tuple[bytes, bytes]], refused: list[Refused]) -> int:
        """Of one pass; how many items it has. None is made where nothing is left."""
        last = dict(records)
        puts = [Put(self._chosen.table, *orjson.loads(record)) for record in last.values() if record]
        if not puts:
            return 0
        file = ItemFile(self._bucket.file(name).create())
        try:
            file.write(puts)
            file.close()
        finally:
            file.abandon()
        self._on_items(len(puts))
        return len(puts)

    def _refuse_more_than_an_import_takes(self, state: RestoreState) -> None:
        sizes = [size for _, size in self._bucket.list(self._prefix(state))]
        refuse_too_much(sizes, self._session.region, self._chosen.table, "Restore it without --import.")

    def _request(self, state: RestoreState) -> dict[str, Any]:
        chosen, target = self._chosen, self._project.target
        table = new_table(chosen.table, tuple(chosen.key), target, self._indexes)
        return import_request(self._bucket.store, self._prefix(state), state.token, table)

    @property
    def _index_types(self) -> dict[str, str]:
        keys = [key for index in self._indexes for key in (index.partition_key, index.sort_key) if key]
        return {key.name: key.type for key in keys}

    def _prefix(self, state: RestoreState) -> str:
        return folder_of(state.token)

    def _save(self, state: RestoreState) -> RestoreState:
        with writing(self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            refused = [list(each) for each in state.refused]
            replace_file(self._path, sealed_json({"format": FORMAT, **asdict(state), "refused": refused}))
        return state

    def _forget(self, state: RestoreState | None) -> None:
        """The files first: what names them goes last."""
        if state is not None:
            self._bucket.remove([name for name, _ in self._bucket.list(self._prefix(state))])
            self._path.unlink(missing_ok=True)


def indexes_of(project: Project, table: str) -> list[IndexRule]:
    """What the project file says of a target table. Raises ProjectError for a local index: an import makes none."""
    found = {index.name: index for rule in project.tables if rule.target == table for index in rule.indexes}
    if local := [name for name, index in found.items() if index.local]:
        message = f"an import makes no local secondary index, and {local[0]!r} is one"
        raise ProjectError(message, place=table, hint="Restore it without --import.")
    return list(found.values())


def _load(path: Path) -> RestoreState | None:
    """Raises LogCorrupt."""
    if not path.exists():
        return None
    hint = "Remove the file, and the table if an import is making it, and begin again."
    document = read_sealed(path, FORMAT, hint)
    names = RestoreState.__dataclass_fields__
    fields = {name: value for name, value in document.items() if name in names}
    fields["refused"] = tuple(Refused(*each) for each in fields["refused"])
    return RestoreState(**fields)


def _refusal(table: str, state: RestoreState, found: Imported) -> TargetError:
    return TargetError(
        f"DynamoDB read {found.processed:,} of {state.items:,} items and imported {found.written:,}; "
        f"{found.errors:,} were refused ({found.failure or found.status}); its log is {found.log}",
        place=table,
        hint="Remove the table if it is there, and restore without --import: what is refused is then named.",
    )
