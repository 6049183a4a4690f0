"""The streams of the target tables, from which the way back is read: turned on, and marked where it begins and ends."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.tables import stream_of, turn_stream_off, turn_stream_on
from whimbrel.errors import HandoverError, StateError
from whimbrel.handed_over import Handover
from whimbrel.handover.markers import mark_shards
from whimbrel.handover.state import Coordinator
from whimbrel.migration.run import Run
from whimbrel.project import Project

Markers = dict[str, dict[str, str]]  # by target table, by shard: the sequence number


def turn_on(run: Run, coordinator: Coordinator) -> None:
    """Before anything is fenced: the first write of an application at DynamoDB must find its stream. That a stream is
    whimbrel's is saved before it is turned on, so that `finish` knows.
    """
    client = open_client(run.prepared.project.target)
    missing = [target for target in _targets(run) if not stream_of(client, target)]
    if missing:
        coordinator.note(streams_made=tuple(sorted({*coordinator.now.streams_made, *missing})))
    for target in missing:
        turn_stream_on(client, target)


def turn_off(project: Project, now: Handover) -> list[str]:
    """Those that whimbrel turned on; their tables."""
    client = open_client(project.target)
    return [target for target in now.streams_made if turn_stream_off(client, target)]


def mark(run: Run) -> Markers:
    """Markers in every open shard of every target's stream: what was acknowledged before is in front of them."""
    target_client, streams = open_client(run.prepared.project.target), open_streams(run.prepared.project.target)
    nonce, found = secrets.token_hex(8), Markers()
    for mapping in run.prepared.mappings.values():
        target = mapping.target
        if target not in found:
            stream = stream_of(target_client, target)
            if not stream:
                raise StateError("the table's stream is off", place=target, hint="Start again: it is turned on.")
            found[target] = mark_shards(run.wire, streams, stream, target, mapping.key_attributes, nonce, run.stop)
    return found


def starts_of(now: Handover) -> Mapping[str, Mapping[str, str]]:
    """Where the reverse stream begins. Raises HandoverError where the cutover was made without a way back."""
    if not now.starts:
        raise HandoverError(
            "this cutover was made without a way back",
            place="cutover.reverse_user",
            hint="A way back needs an account of its own before the cutover: see docs/cutover.md.",
        )
    return now.starts


def _targets(run: Run) -> list[str]:
    return sorted({mapping.target for mapping in run.prepared.mappings.values()})
