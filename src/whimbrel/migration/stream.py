"""The stream of a project whose changes a function applies: taken by one migration, and sent to."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, NamedTuple

from whimbrel.bucket import bucket_of
from whimbrel.changelog.segments import read_mark
from whimbrel.durable import append
from whimbrel.dynamodb.session import Session, translate
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, StateError, TargetError, TargetTaken
from whimbrel.kinesis.control import ControlTable
from whimbrel.kinesis.kept import KeptChanges
from whimbrel.kinesis.puts import StreamWriter
from whimbrel.kinesis.settings import FunctionSettings, SourceTable, settings_to_json
from whimbrel.mapping.dialect import answers_of
from whimbrel.migration.dead import DeadLetters
from whimbrel.migration.dirty import DirtyKeys
from whimbrel.migration.history import History
from whimbrel.migration.prepare import Prepared
from whimbrel.migration.progress import Progress
from whimbrel.migration.send import Sender, Sending
from whimbrel.migration.state import CheckpointStore, StateFolder
from whimbrel.project import Project, Stream, Target

MOST_RECORD = 4 << 20  # bytes: as base64, more do not fit into what Lambda hands over
_KIB = 1024


def take(project: Project, wire: DynamoClient, migration: str, stop: threading.Event) -> ControlTable:
    """Make ``migration`` the one whose records count, for good. Raises TargetTaken if there is another."""
    stream = _stream(project)
    control = ControlTable(wire, project.target.mark, stream.name, stop)
    if not control.take(migration):
        raise TargetTaken(
            f"the stream is used by the migration {control.current()}; this one is {migration}",
            place=stream.name,
            hint="Give each migration a stream of its own, also one that starts over.",
        )
    return control


def refuse_without_stream(folder: StateFolder) -> None:
    """A function may still be at work on what was sent: no process may write the same items. Raises StateError."""
    if folder.sent.exists():
        raise StateError(
            "changes of this migration were sent to a stream, and a function may still apply them",
            place=str(folder.sent),
            hint="Put [log] and [apply] back into the project file.",
        )


def perhaps_sent(project: Project) -> int | None:
    """Up to which change the log may be in the stream; None for a project without one."""
    if project.stream is None:
        return None
    folder = StateFolder(project.state)
    mark = read_mark(folder.log) if folder.sent.exists() else None
    return mark.total if mark else 0


def sender(
    prepared: Prepared,
    history: History,
    wire: DynamoClient,
    dead: DeadLetters,
    dirty: DirtyKeys,
    checkpoints: CheckpointStore,
    progress: Progress,
    stop: threading.Event,
) -> Sender:
    """Raises TargetTaken if the stream is used by another migration, TargetError if the stream cannot be put to."""
    project, migration = prepared.project, checkpoints.now.migration
    stream = _stream(project)
    control = take(project, wire, migration, stop)
    folder, kept = StateFolder(project.state), kept_changes(project, stop)
    append(folder.sent, b"")  # from here on records may be in the stream
    sending = Sending(
        log=folder.log,
        sent=folder.sent,
        migration=migration,
        settings=control.put_settings(settings_to_json(function_settings(prepared, history))),
        began=history.began,
        form=stream.form,
        most=most_bytes(project),
        keep=kept.put if kept else None,
    )
    writer = StreamWriter(kinesis_of(project), stream.name, stop)
    try:
        return Sender(sending, prepared.versions, writer, control, dead, dirty, checkpoints, progress, stop.is_set)
    except BaseException:
        writer.close()
        raise


def _stream(project: Project) -> Stream:
    assert project.stream is not None, "it is asked before"
    return project.stream


def kept_changes(project: Project, stop: threading.Event) -> KeptChanges | None:
    """Where changes are that no record takes; None for a project without a bucket."""
    if project.store is None:
        return None
    bucket = bucket_of(project.store, project.target)
    bucket.attend(stop)
    return KeptChanges(bucket)


def kinesis_of(project: Project) -> Target:
    return replace(project.target, endpoint=_stream(project).endpoint)


def function_settings(prepared: Prepared, history: History) -> FunctionSettings:
    """What another process needs to make the same items."""
    starts = history.starts()
    sources = []
    for rule in prepared.project.tables:
        now = prepared.mappings[rule.name].table
        name = (now.schema, now.name)
        sources.append(SourceTable(rule, starts.get(name, now), now, tuple(history.columns(name))))
    target = prepared.project.target
    texts = [text for rule in prepared.project.tables for text in (*rule.columns.values(), rule.filter) if text]
    return FunctionSettings(
        history.began,
        target.concurrency,
        tuple(sources),
        target.max_write_units,
        answers_of(texts),
        prepared.project.store,
    )


def most_bytes(project: Project) -> int:
    """Of a record of the stream. Raises as ``facts_of`` does."""
    return facts_of(project).most_bytes


class StreamFacts(NamedTuple):
    """``most_bytes`` of a record; for how many ``hours`` records are kept."""

    most_bytes: int
    hours: int


def facts_of(project: Project) -> StreamFacts:
    """Raises TargetError if the stream is not there, or not to be used."""
    stream = _stream(project)
    place = f"stream {stream.name}"
    summary: Any = {}
    try:
        client = Session(kinesis_of(project), "kinesis").service("kinesis")
        summary = client.describe_stream_summary(StreamName=stream.name)["StreamDescriptionSummary"]
    except Exception as error:  # what boto3 raises; the others go on as they are
        try:
            translate(error, place)
        except RequestRefused as refused:
            refused.hint = "Make the stream first, or correct log.stream or the region."
            raise
    if summary["StreamStatus"] not in ("ACTIVE", "UPDATING"):
        raise TargetError(f"the stream is {summary['StreamStatus']}", place=place, hint="Wait until it is ACTIVE.")
    most = min(MOST_RECORD, int(summary.get("MaxRecordSizeInKiB", _KIB)) * _KIB)
    return StreamFacts(most, int(summary["RetentionPeriodHours"]))
