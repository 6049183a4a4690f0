"""The target tables of a migration, all at once: made, waited for, and known again by what DynamoDB calls them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import (
    ACTIVE,
    ACTIVE_SECONDS,
    check_indexes,
    check_key,
    describe_all,
    id_of,
    make_tables,
    new_table,
    refuse_items,
)
from whimbrel.dynamodb.ttl import on_too_early, ttl_attribute
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped, TargetError, TargetNotEmpty, TargetUnreachable
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import indexes_of
from whimbrel.mapping.owned import owned_by
from whimbrel.project import Target
from whimbrel.records import Item

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds


def open_targets(
    wire: DynamoClient, target: Target, mappings: Sequence[TableMapping], stop: threading.Event, *, allow_items: bool
) -> dict[str, str]:
    """The tables that ``mappings`` write to, with their identities: made where there is none, and ACTIVE on return.

    They are made before any of them is waited for: DynamoDB takes some seconds for each, and makes hundreds at a time.
    Raises RequestRefused for a table of another key or without an index, TargetNotEmpty for one that has items where
    ``allow_items`` is False, TargetUnreachable, Stopped.
    """
    by_target: dict[str, list[TableMapping]] = {}
    for mapping in mappings:
        by_target.setdefault(mapping.target, []).append(mapping)
    found = describe_all(wire, list(by_target), stop)
    missing = [(name, mine) for name, mine in by_target.items() if found[name] is None]
    make_tables(
        wire, [new_table(name, mine[0].key_attributes, target, indexes_of(mine)) for name, mine in missing], stop
    )
    active = _active(wire, list(by_target), stop)
    for name, mine in by_target.items():
        check_key(active[name], name, mine[0].key_attributes)
        check_indexes(active[name], name, indexes_of(mine))
        if found[name] is not None and not allow_items:
            if name in target.shared:
                refuse_own_items(wire, target, mine, stop)
            else:
                refuse_items(Session(target).client(), name)
    expiring = [name for name, mine in by_target.items() if any(each.rule.ttl for each in mine)]
    for name in [name for name in expiring if found[name] is not None]:
        if attribute := ttl_attribute(Session(target).client(), name):
            raise on_too_early(name, attribute)
    return {name: id_of(description) for name, description in active.items()}


def refuse_own_items(
    wire: DynamoClient, target: Target, mappings: Sequence[TableMapping], stop: threading.Event
) -> None:
    """The same for a table that others write to: it is read to the end, or to the first item that could be ours."""
    name, owned = mappings[0].target, owned_by(mappings)

    def page(items: list[Item]) -> None:
        for item in items:
            if owned.has(item):
                key = key_id({key: item[key] for key, _ in mappings[0].key_attributes}).decode()
                raise TargetNotEmpty(
                    f"it is shared, and has an item of one of our keys that this migration did not write: {key}",
                    place=name,
                    hint="Delete the items of these keys, begin keys with texts of their own, or pass --into-existing.",
                )

    scan(wire, name, 1, page, consistent=True, pace=RateLimiter(target.max_read_units), page_items=1000, stop=stop)


def check_targets(wire: DynamoClient, recorded: Sequence[tuple[str, str]], stop: threading.Event) -> None:
    """Raises TargetError if one of the tables, (name, identity), is another one now."""
    found = describe_all(wire, list(dict(recorded)), stop)
    for name, before in recorded:
        now = id_of(found[name])
        if before != now:
            raise TargetError(
                f"the target table is not the one that was loaded (it was {before}, it is {now or 'gone'})",
                place=name,
                hint="It was dropped or recreated: start over with a new state folder.",
            )


def _active(wire: DynamoClient, names: Sequence[str], stop: threading.Event) -> dict[str, Any]:
    """What DynamoDB says of each, once all of them are ACTIVE."""
    deadline, pause = time.monotonic() + ACTIVE_SECONDS, FIRST_PAUSE
    done: dict[str, Any] = {}
    while True:
        found = describe_all(wire, [name for name in names if name not in done], stop)
        done |= {name: each for name, each in found.items() if each and each["TableStatus"] in ACTIVE}
        left = [name for name in names if name not in done]
        if not left:
            return done
        if time.monotonic() > deadline:
            status = (found[left[0]] or {}).get("TableStatus", "missing")
            raise TargetUnreachable(f"the table is still {status}", place=left[0], hint="Check it in the AWS console.")
        if stop.wait(pause):
            raise Stopped("asked to stop before the target tables were there")
        pause = min(LONGEST_PAUSE, pause * 1.5)
