"""The streams of the target tables, from which the way back is read: turned on, and marked where it begins and ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.shards import refuse_other_stream
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.tables import stream_of, turn_stream_off, turn_stream_on
from whimbrel.errors import HandoverError
from whimbrel.handed_over import Handover
from whimbrel.handover.markers import mark_shards
from whimbrel.handover.state import Coordinator
from whimbrel.migration.run import Run
from whimbrel.project import Project
from whimbrel.threads import Beside

Markers = dict[str, dict[str, str]]  # by target table, by shard: the sequence number


def turn_on(run: Run, coordinator: Coordinator) -> dict[str, str]:
    """The streams' ARNs, by target table. Before anything is fenced: the first write of an application at DynamoDB must
    find its stream. That a stream is whimbrel's is saved before it is turned on, so that `finish` knows.
    """
    client = open_client(run.prepared.project.target)
    missing = [target for target in _targets(run) if not stream_of(client, target)]
    if missing:
        coordinator.note(streams_made=tuple(sorted({*coordinator.now.streams_made, *missing})))
    for target in missing:
        turn_stream_on(client, target)
    return {target: stream_of(client, target) for target in _targets(run)}


def turn_off(project: Project, now: Handover) -> list[str]:
    """Those that whimbrel turned on; their tables."""
    client = open_client(project.target)
    return [target for target in now.streams_made if turn_stream_off(client, target)]


def marker(run: Run, streams: Mapping[str, str]) -> Callable[[], Markers]:
    """What puts markers in every open shard of every target's stream: what was acknowledged before is in front of them.
    Of all targets at once, as each is mostly waited for. To be made while applications still write, as a client takes a
    tenth of a second to make.

    What it gives raises LogGone where a table has another stream than that of ``streams`` by now.
    """
    target = run.prepared.project.target
    tables, client = open_client(target), open_streams(target)
    keys = {mapping.target: mapping.key_attributes for mapping in run.prepared.mappings.values()}

    def of_one(name: str, stream: str, nonce: str) -> dict[str, str]:
        refuse_other_stream(tables, name, stream)
        found = mark_shards(run.wire, client, stream, name, keys[name], nonce, run.stop)
        refuse_other_stream(tables, name, stream)  # nor meanwhile: another one would have the markers
        return found

    def mark() -> Markers:
        nonce = secrets.token_hex(8)
        marking = {name: Beside(partial(of_one, name, stream, nonce), "markers") for name, stream in streams.items()}
        try:
            return {name: each.result() for name, each in marking.items()}
        finally:
            for each in marking.values():
                each.join()

    return mark


def refuse_other_streams(run: Run, streams: Mapping[str, str]) -> None:
    """Raises LogGone where one of ``streams``, by target table, is not its table's any more."""
    client = open_client(run.prepared.project.target)
    for target, stream in streams.items():
        refuse_other_stream(client, target, stream)


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
