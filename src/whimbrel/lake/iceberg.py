"""Every published data set is a snapshot of an Iceberg table too, made of the same Parquet files.

The order matters. The data set's pointer is first, then the snapshot, and only then go the data sets that are too old,
after their snapshots. So a snapshot never lists files that are not there. What a kill leaves is a table that is behind:
each snapshot says in its summary which data set it is of, and the next ``convert`` adds those that are missing. Of two
who add one, the catalog takes one, and the other looks again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchNamespaceError,
    NoSuchTableError,
    ResolveError,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent
from pyiceberg.schema import Schema
from pyiceberg.table import Table, TableProperties, Transaction
from pyiceberg.table.name_mapping import MappedField, NameMapping
from pyiceberg.table.snapshots import Snapshot

from whimbrel.dynamodb.session import translate
from whimbrel.errors import Locked, StateError, UserError
from whimbrel.lake import datasets
from whimbrel.lake.fold import has_its_types
from whimbrel.lake.gone import gone
from whimbrel.lake.iceberg_entries import data_file, deletion_file, deletions
from whimbrel.lake.iceberg_files import LakePlace, of_another_lake, open_catalog, place_of
from whimbrel.lake.iceberg_schema import fits_glue, schema_of, shape
from whimbrel.lake.iceberg_snapshot import NextSnapshot, files_in
from whimbrel.lake.manifest import DataFile, Manifest
from whimbrel.lake.opened import OpenLake
from whimbrel.lake.snapshot import IcebergSnapshot
from whimbrel.project import Project

DATASET, AS_OF = "whimbrel.dataset-id", "whimbrel.as-of"  # in a snapshot's summary
# What a delta has beside the table's columns, under ids that no column gets: pyiceberg reads no file with other names.
_OF_DELTAS = {datasets.DELETED: 2_000_000_001, datasets.SEQUENCE: 2_000_000_002}
_TRIES = 10  # while others add snapshots
_PROPERTIES = {
    # Added to a snapshot that it has not seen, ours would list the files of both: never tried again by pyiceberg.
    TableProperties.COMMIT_NUM_RETRIES: "0",
    # The Parquet files are the data sets': no engine may remove them.
    "gc.enabled": "false",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
}


def publish(project: Project, lake: OpenLake, name: str, keep: int, keep_days: float) -> IcebergSnapshot:
    """Bring the table up to the current data set, and take out the snapshots of those that ``retain`` will remove.

    Raises UserError where the table is another's or its database is missing, Locked where others never let it add one,
    StateError, and what the catalog and the bucket raise.
    """
    place = place_of(lake)
    with _named(f"{project.lake.database}.{name}"), open_catalog(project, place) as catalog:
        keeper = _Keeper(catalog, place, lake, (project.lake.database, name))
        for _ in range(_TRIES):
            try:
                return keeper.publish(keep, keep_days)
            except (CommitFailedException, TableAlreadyExistsError, NoSuchTableError, FileNotFoundError):
                continue  # somebody else was first, and may have removed the data set already
    message = "others change the Iceberg table all the time"
    raise Locked(message, place=f"{project.lake.database}.{name}", hint="Run the same command again.")


def snapshots(project: Project, lake: OpenLake, name: str) -> dict[str, int]:
    """The snapshot of each data set that the table has. Raises as ``publish`` does."""
    place = place_of(lake)
    with _named(f"{project.lake.database}.{name}"), open_catalog(project, place) as catalog:
        table = _Keeper(catalog, place, lake, (project.lake.database, name)).load()
        return {_dataset(each): each.snapshot_id for each in table.metadata.snapshots} if table else {}


class _Keeper:
    def __init__(
        self, catalog: MetastoreCatalog, place: LakePlace, lake: OpenLake, identifier: tuple[str, str]
    ) -> None:
        self._catalog, self._place, self._lake, self._identifier = catalog, place, lake, identifier
        self._name = identifier[1]
        self._location = f"{place.root}datasets/{self._name}"
        self._added, self._began_again = 0, False

    def publish(self, keep: int, keep_days: float) -> IcebergSnapshot:
        self._lake.look(self._name)
        folder = self._lake.folder
        now, there = datasets.current(folder, self._name), datasets.versions(folder, self._name)
        leaving = {each.id for each in datasets.too_old(folder, self._name, keep, keep_days)}
        table = self.load()
        for each in waiting([each for each in there if each.id not in leaving], now, _published(table)):
            if not self._can_be_had(each, now):
                continue
            self._lake.have(each)
            if all(has_its_types(folder, each, file) for file in each.files):
                table = self._add(table, each)
            elif each.id == now.id:
                raise _of_other_types(each)
        assert table
        last = table.current_snapshot()
        if last is None or _dataset(last) < now.id:
            raise self._changed(f"the Iceberg table does not show the snapshot of {now.id}")
        table = self._expire(table, leaving)
        name, metadata = ".".join(self._identifier), table.metadata_location
        return IcebergSnapshot(name, last.snapshot_id, metadata, self._added, self._began_again)

    def _can_be_had(self, manifest: Manifest, now: Manifest) -> bool:
        """False for an earlier one with columns that the table cannot have, which are left out since. Raises UserError
        where the current one has such.
        """
        try:
            schema_of(manifest)
            if self._place.bucket:
                fits_glue(manifest)
        except UserError:
            if manifest.id == now.id:
                raise
            return False
        return True

    def load(self) -> Table | None:
        """None where there is none. Raises UserError for one that others made or changed."""
        try:
            table = self._catalog.load_table(self._identifier)
        except NoSuchTableError:
            return None
        if table.location() != self._location:
            raise of_another_lake(table.location())
        for each in table.metadata.snapshots:
            if not _dataset(each):
                raise self._changed(f"snapshot {each.snapshot_id} of the Iceberg table is not of whimbrel")
        return table

    def _changed(self, message: str) -> UserError:
        """By somebody else."""
        hint = "Drop the table: the next `convert` makes it from the data sets that are kept."
        return UserError(message, place=".".join(self._identifier), hint=hint)

    def _add(self, table: Table | None, manifest: Manifest) -> Table:
        """One snapshot, of exactly the files of the data set, and of its rows."""
        if table is not None and not _takes(table, manifest):
            self._began_again = True
            old = _files_of(table)
            self._catalog.drop_table(self._identifier)
            table = None
            self._remove(old)
        if table is None:
            table = self._catalog.create_table(
                self._identifier, schema_of(manifest), location=self._location, properties=_PROPERTIES
            )
        there = {file.file_path for file in files_in(table.current_snapshot(), table.io)}
        listed = {f"{self._location}/{each.path}": each for each in manifest.files}
        with table.transaction() as change:
            _grow(change, manifest)
            schema = change.table_metadata.schema()
            new = [self._registered(path, file, schema) for path, file in listed.items() if path not in there]
            deletions = self._deletions(manifest)
            summary = {DATASET: manifest.id, AS_OF: manifest.as_of}
            NextSnapshot(change, table, [*new, *deletions], there - set(listed), summary).commit()
        _check(table, manifest)
        self._added += 1
        return table

    def _registered(self, location: str, file: DataFile, schema: Schema) -> IcebergFile:
        path = datasets.home(self._lake.folder, self._name) / file.path
        found = data_file(path, location, schema)
        if (found.record_count, found.file_size_in_bytes) != (file.rows, file.bytes):
            message = (
                f"has {found.record_count} rows in {found.file_size_in_bytes} bytes, not {file.rows} in {file.bytes}"
            )
            raise StateError(message, place=location, hint="Convert the exports again.")
        return found

    def _deletions(self, manifest: Manifest) -> list[IcebergFile]:
        """Files that delete what is in the data set's files and not a row of it. They say it of all files each time, so
        a snapshot has none of earlier ones.
        """
        made = []
        for data, rows, paths in deletions(gone(self._lake.folder, manifest), self._location):
            location = f"{self._location}/metadata/{manifest.id}-{uuid4()}-deletes.parquet"
            self._place.write(location, data)
            made.append(deletion_file(location, len(data), rows, paths))
        return made

    def _expire(self, table: Table, leaving: Collection[str]) -> Table:
        going = [each.snapshot_id for each in table.metadata.snapshots if _dataset(each) in leaving]
        if not going:
            return table
        for name, each in table.metadata.refs.items():
            if each.snapshot_id in going:
                raise self._changed(f"{name!r} holds snapshot {each.snapshot_id}, whose data set is no longer kept")
        before = _files_of(table)
        table.maintenance.expire_snapshots().by_ids(going).commit()
        table = table.refresh()
        self._remove(before - _files_of(table))
        return table

    def _remove(self, files: Collection[str]) -> None:
        for each in files:
            self._place.remove(each)


def waiting(there: Sequence[Manifest], now: Manifest, published: Collection[str]) -> list[Manifest]:
    """The data sets that are not in the table yet, oldest first, up to the one that is current ``now``.

    One that was made beside the current one, as of an earlier time, was never published.
    """
    newest, highest, found = max(published, default=""), "", list[Manifest]()
    for each in there:
        is_late, highest = each.as_of >= highest, max(highest, each.as_of)
        if newest < each.id <= now.id and (each.id == now.id or is_late):
            found.append(each)
    return found


def _dataset(snapshot: Snapshot) -> str:
    """The id of the data set that it is of; "" if it is not of ours."""
    return str(snapshot.summary.additional_properties.get(DATASET, "")) if snapshot.summary else ""


def _published(table: Table | None) -> list[str]:
    return [_dataset(each) for each in table.metadata.snapshots] if table else []


def _takes(table: Table, manifest: Manifest) -> bool:
    """Whether the table's columns can become the data set's, and its older snapshots remain what they are.

    Its files have no ids of fields, and are read by names: so none may go, or become of a type that is not wider.
    """
    change = Transaction(table)
    try:
        _grow(change, manifest)
    except (ValueError, ResolveError, ValidationError):
        return False
    return True


def _grow(change: Transaction, manifest: Manifest) -> None:
    """Raises ValueError where the columns would not be those of the data set."""
    wanted = schema_of(manifest)
    if shape(change.table_metadata.schema()) != shape(wanted):
        with change.update_schema() as columns:
            columns.union_by_name(wanted)
    grown = change.table_metadata.schema()
    if shape(grown) != shape(wanted):
        raise ValueError(f"the columns of {manifest.id} do not extend those of the table")
    others = [MappedField.model_validate({"field-id": number, "names": [name]}) for name, number in _OF_DELTAS.items()]
    names = NameMapping([*grown.name_mapping, *others]).model_dump_json()
    if change.table_metadata.properties.get(TableProperties.DEFAULT_NAME_MAPPING) != names:
        change.set_properties({TableProperties.DEFAULT_NAME_MAPPING: names})


def _check(table: Table, manifest: Manifest) -> None:
    snapshot = table.current_snapshot()
    assert snapshot
    assert snapshot.summary
    totals = snapshot.summary.additional_properties
    rows, files = int(totals["total-records"]) - int(totals["total-position-deletes"]), int(totals["total-data-files"])
    if (_dataset(snapshot), rows, files) != (manifest.id, manifest.rows, len(manifest.files)):
        message = f"its snapshot has {rows} rows in {files} files, not {manifest.rows} in {len(manifest.files)}"
        raise StateError(message, place=manifest.id, hint="Drop the table: the next `convert` makes it again.")


def _files_of(table: Table) -> set[str]:
    """What Iceberg itself has written of the table, of all its snapshots; not the data."""
    found = {table.metadata_location, *(each.metadata_file for each in table.metadata.metadata_log)}
    for each in table.metadata.snapshots:
        found |= {each.manifest_list, *(listed.manifest_path for listed in each.manifests(table.io))}
        found |= {file.file_path for file in files_in(each, table.io) if file.content != DataFileContent.DATA}
    return found


def _of_other_types(manifest: Manifest) -> UserError:
    """From before the table was asked for: later ones are made so that others can read them."""
    hint = f"Make them again: whimbrel convert --again {manifest.table}"
    return UserError("files of the data set have columns of other types than it has now", place=manifest.id, hint=hint)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """What the catalog raises, as errors of ours."""
    try:
        yield
    except NoSuchNamespaceError as error:
        hint = "`whimbrel aws template` makes it: deploy the stack."
        raise UserError("the database is not in Glue", place=place, hint=hint) from error
    except sqlite3.Error as error:
        hint = "Run the same command again; or remove the catalog's file: it is made again from the data sets."
        raise StateError(f"the catalog cannot be used: {error}", place=place, hint=hint) from error
    except Exception as error:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError | BotoCoreError):
            translate(error, place)
        raise
