"""What a first sight keeps of an item: its key, and a digest that equal items have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.dynamodb.session import KnownTarget
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.item import identified_by, item_text
from whimbrel.mapping.attributes import Design
from whimbrel.mapping.owned import Owned
from whimbrel.mapping.provenance import ChangeMetadata
from whimbrel.mapping.trees import leaves_of
from whimbrel.mapping.values import INTEGER_KINDS
from whimbrel.project import Target
from whimbrel.records import Column, Item
from whimbrel.spill import DIGEST_BYTES, KeyedDigests

UNEQUAL = bytes(DIGEST_BYTES)  # equals no item's
DELETED = b"\xff" * DIGEST_BYTES  # of an item that says that its row went


def as_written(design: Design) -> bool:
    """Whether DynamoDB gives back every value in the very form in which the mapping writes it: it has no numbers other
    than integers of columns, and no sets. Else equal items may be written in several ways.
    """
    leaves = [leaf for each in design.added for leaf in leaves_of(each.tree)]
    columns = design.columns
    return (
        design.inside not in ("SS", "NS")
        and (design.gathered is None or design.gathered.kind == "L")
        and all(one.type in ("S", "B", "BOOL") or _is_integer(one.column, one.type) for one in design.carried)
        and all(leaf.type in ("S", "BOOL") for leaf in leaves)
        and all(key.type != "N" or _is_integer(columns[key.template.alone], "N") for key in design.keys)
    )


def _is_integer(column: Column, kind: str) -> bool:
    return kind == "N" and column.kind in INTEGER_KINDS


def _plain_text(item: Item) -> bytes:
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


class ItemDigests:
    """Of the items of one target table, whose key has the attributes ``key``, as (name, type). ``metadata`` is left
    out of the digests. ``as_written``: see there. What others wrote otherwise differs then, which costs a second look.
    """

    def __init__(
        self, key: Sequence[tuple[str, str]], metadata: Iterable[ChangeMetadata], *, as_written: bool = False
    ) -> None:
        self._text: Callable[[Item], bytes] = _plain_text if as_written else item_text
        self._identity = identified_by(key)
        self._metadata = [each for each in metadata if each]

    def of(self, items: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
        """The keys, as ``key_id`` gives them, and the digests."""
        if self._metadata:
            return self._keys(items), list(map(self.digest, items))
        return self._keys(items), [blake2b(text, digest_size=DIGEST_BYTES).digest() for text in map(self._text, items)]

    def of_found(self, items: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
        """The same of items in the target; DELETED of those that say that their row went."""
        keys, digests = self.of(items)
        for each in self._metadata:
            if each.mark:
                digests = [DELETED if each.is_deleted(item) else one for item, one in zip(items, digests, strict=True)]
        return keys, digests

    def digest(self, item: Item) -> bytes:
        for each in self._metadata:
            item = each.rest(item)
        return blake2b(self._text(item), digest_size=DIGEST_BYTES).digest()

    def _keys(self, items: Sequence[Item]) -> list[bytes]:
        keys = list(map(self._identity, items))
        # Copies: orjson takes a kilobyte for each, of which what is not needed is of little use to others.
        return b"\n".join(keys).split(b"\n") if keys else []


class TargetSide(NamedTuple):
    """A target table that is read, and the ``folder`` where its keys and digests go."""

    target: Target
    table: str
    digests: ItemDigests
    folder: Path
    partitions: int
    segments: int
    page_items: int
    owned: Owned | None = None  # of a table that others write to: the items that are looked at
    known: KnownTarget | None = None  # for a worker: how to reach the target

    def read(self, wire: DynamoClient, stop: threading.Event, found: Callable[[int], None]) -> KeyedDigests:
        """Read the whole table; ``found`` is told of each page how many items it has. Raises what ``scan`` does."""
        into = KeyedDigests(self.folder, self.partitions)

        def page(items: list[Item]) -> None:
            if self.owned is not None:
                items = [item for item in items if self.owned.has(item)]
            into.add(*self.digests.of_found(items))
            found(len(items))

        pace = RateLimiter(self.target.max_read_units)
        scan(wire, self.table, self.segments, page, pace=pace, page_items=self.page_items, stop=stop)
        return into
