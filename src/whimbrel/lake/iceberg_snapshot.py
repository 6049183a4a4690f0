"""A snapshot that has rows deleted by their positions. pyiceberg reads such, and does not write them.

Its snapshots, manifests and summaries are its own classes, used as its own producers of snapshots use them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from uuid import uuid4

from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, SnapshotSummaryCollector, Summary, update_snapshot_summaries
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    SetSnapshotRefUpdate,
    UpdatesAndRequirements,
    UpdateTableMetadata,
)

_CODEC = "deflate"


class NextSnapshot(UpdateTableMetadata["NextSnapshot"]):  # type: ignore[misc]  # not everybody has it
    """The current snapshot's files without those at the locations ``leaving``, and with the ``new`` ones: data files
    and files of deletions. These delete rows of files that come with them, too: the sequence number is the same.
    """

    def __init__(
        self,
        change: Transaction,
        table: Table,
        new: Sequence[DataFile],
        leaving: Collection[str],
        properties: Mapping[str, str],
    ) -> None:
        super().__init__(change)
        self._table, self._new, self._leaving, self._properties = table, new, leaving, properties
        self._id, self._gone = change.table_metadata.new_snapshot_id(), list[DataFile]()

    def _commit(self) -> UpdatesAndRequirements:
        metadata = self._transaction.table_metadata
        parent = metadata.snapshot_by_name(MAIN_BRANCH)
        before = parent.snapshot_id if parent else None
        manifests = [*self._new_manifests(), *self._kept_manifests(parent)]
        number, location = metadata.next_sequence_number(), self._location(f"snap-{self._id}-0-{uuid4()}.avro")
        output = self._table.io.new_output(location)
        with write_manifest_list(metadata.format_version, output, self._id, before, number, _CODEC) as writer:
            writer.add_manifests(manifests)
        snapshot = Snapshot(
            snapshot_id=self._id,
            parent_snapshot_id=before,
            manifest_list=location,
            sequence_number=number,
            summary=self._summary(parent),
            schema_id=metadata.current_schema_id,
        )
        shown = SetSnapshotRefUpdate(
            ref_name=MAIN_BRANCH, type=SnapshotRefType.BRANCH, snapshot_id=self._id, parent_snapshot_id=before
        )
        unchanged = AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=before)
        return (AddSnapshotUpdate(snapshot=snapshot), shown), (unchanged,)

    def _new_manifests(self) -> Iterator[ManifestFile]:
        for content, files in groupby(sorted(self._new, key=_content), _content):
            added = (_entry(ManifestEntryStatus.ADDED, self._id, each) for each in files)
            yield self._manifest(content, added)

    def _kept_manifests(self, parent: Snapshot | None) -> Iterator[ManifestFile]:
        """One of which a file leaves is written again: other snapshots have it as it was."""
        for manifest in parent.manifests(self._table.io) if parent else ():
            there = manifest.fetch_manifest_entry(self._table.io)
            gone = [each.data_file for each in there if each.data_file.file_path in self._leaving]
            self._gone += gone
            if gone:
                yield self._manifest(manifest.content, map(self._in_this_one, there))
            elif there:
                yield manifest

    def _in_this_one(self, entry: ManifestEntry) -> ManifestEntry:
        """An entry of the snapshot before, which keeps the sequence numbers that it had there."""
        numbers = entry.sequence_number, entry.file_sequence_number
        if entry.data_file.file_path in self._leaving:
            return _entry(ManifestEntryStatus.DELETED, self._id, entry.data_file, *numbers)
        return _entry(ManifestEntryStatus.EXISTING, entry.snapshot_id, entry.data_file, *numbers)

    def _manifest(self, content: ManifestContent, entries: Iterable[ManifestEntry]) -> ManifestFile:
        metadata, location = self._transaction.table_metadata, self._location(f"{uuid4()}.avro")
        output = self._table.io.new_output(location)
        kind = _Deletions if content == ManifestContent.DELETES else ManifestWriterV2
        writer: ManifestWriter = kind(metadata.spec(), metadata.schema(), output, self._id, _CODEC)
        with writer:
            for each in entries:
                writer.add_entry(each)
        return writer.to_manifest_file()

    def _location(self, name: str) -> str:
        return str(self._table.location_provider().new_metadata_location(name))

    def _summary(self, parent: Snapshot | None) -> Summary:
        schema, collected = self._transaction.table_metadata.schema(), SnapshotSummaryCollector()
        for each in self._new:
            collected.add_file(each, schema)
        for each in self._gone:
            collected.remove_file(each, schema)
        summary = Summary(operation=Operation.OVERWRITE, **collected.build(), **self._properties)
        return update_snapshot_summaries(summary, parent.summary if parent else None)


class _Deletions(ManifestWriterV2):  # type: ignore[misc]  # not everybody has it
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def files_in(snapshot: Snapshot | None, io: FileIO) -> Iterator[DataFile]:
    """Its data files and files of deletions."""
    for manifest in snapshot.manifests(io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(io):
            yield entry.data_file


def _content(file: DataFile) -> ManifestContent:
    return ManifestContent.DATA if file.content == DataFileContent.DATA else ManifestContent.DELETES


def _entry(
    status: ManifestEntryStatus,
    snapshot: int | None,
    file: DataFile,
    sequence: int | None = None,
    file_sequence: int | None = None,
) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot,
        sequence_number=sequence,
        file_sequence_number=file_sequence,
        data_file=file,
    )
