"""Item operations, written for good: nothing that DynamoDB left out, throttled or did not answer is ever dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import orjson

from whimbrel.dynamodb.answers import Answer, acknowledged, attributes_left, item_found, unprocessed
from whimbrel.dynamodb.calls import Counters, RetryingClient, Spent
from whimbrel.dynamodb.inside import (
    NotOurs,
    elements_after,
    entries_after,
    gathered_body,
    is_empty,
    list_body,
    map_left,
    map_remove_bodies,
    map_set_bodies,
    remove_body,
    set_bodies,
)
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, Work, whose
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.refusals import CONDITION_FAILED, ITEM_FAULTS
from whimbrel.dynamodb.requests import (
    batch_body,
    delete_body,
    get_body,
    guarded_body,
    operation_size,
    sets_entries,
    update_bodies,
)
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused
from whimbrel.item import MAX_ITEM_BYTES, oversize_reason, write_units
from whimbrel.project import Target
from whimbrel.records import AttributeValue, Delete, Fault, Guarded, Inside, Item, ItemOperation, Put, PutText, Update

MAX_BATCH_WRITE = 25  # items: DynamoDB's limit
MAX_REQUEST = 16 * 1024 * 1024 - 64 * 1024  # bytes of a body: the documented 16 MB, less room for what we do not count
_NEXT_KEY = b"\n  },\n  {"

Plain = Put | PutText | Delete
Result = TypeVar("Result")


class Rejected(NamedTuple):
    """An operation that can never be written as it is, and DynamoDB's (or its limits') reason.

    Nothing of it is written, but for an Update of more than 100 attributes: parts of it may be.
    """

    operation: ItemOperation
    reason: str

    def fault(self, source: str) -> Fault:
        """As a dead letter of the table ``source``."""
        return Fault(source, self.reason, {}, self.operation.key, None)


@dataclass
class Stats(Counters):
    """What a Writer has done so far."""

    items: int = 0  # operations acknowledged
    unprocessed: int = 0  # items that a BatchWriteItem left out; each is sent again
    rejected: int = 0
    held: int = 0  # operations that their condition skipped
    concurrency: int = 0  # calls that may be under way now


class Writer:
    """Writes operations to DynamoDB; thread-safe, as long as two calls under way do not touch the same item."""

    def __init__(
        self,
        wire: DynamoClient,
        target: Target,
        *,
        stop: threading.Event | None = None,
        before: Callable[[Sequence[ItemOperation]], object] = lambda operations: None,
        astray: Callable[[Sequence[ItemOperation]], object] = lambda operations: None,
        limit: ConcurrencyLimit | None = None,
        pace: RateLimiter | None = None,
        refused: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """``stop``, when set, makes ``write`` stop retrying, pacing and what it has not begun. ``before`` is called
        with the operations of a ``write`` before anything of it is sent, and may raise. ``astray`` is called, in any
        thread, with operations of which a call had no answer: it may still arrive, however they end. ``limit``
        is that of an earlier Writer, which continues with what that has found out; so is ``pace``, where the target's
        own cap is not the one to keep to. ``refused`` is as RetryingClient has it.
        """
        self._before = before
        self._astray = astray
        self._limit = limit or ConcurrencyLimit(target.concurrency)
        pace = pace or RateLimiter(target.max_write_units)
        self._calls = RetryingClient(wire, pace, self._limit, stop or threading.Event(), refused=refused)
        self._at_once = AtOnce[Sequence[ItemOperation], list[Rejected]](self._write_job, self._limit)
        self._own = {"items": 0, "unprocessed": 0, "rejected": 0, "held": 0}
        self._held_taken = 0

    @property
    def stats(self) -> Stats:
        """A copy of the counters as they stand."""
        with self._calls.lock:
            counted = asdict(self._calls.counters)
            return Stats(**counted, **self._own, concurrency=self._limit.now)

    def write(self, operations: Sequence[ItemOperation]) -> list[Rejected]:
        """Write all ``operations``, each item at most once among them; return those that can never be written.

        A barrier: when it returns, DynamoDB has acknowledged everything else, and the next call may touch the same
        items. Throttles, missing answers and unprocessed items are retried until they are through.

        Raises Stopped when ``stop`` was set before that, RequestRefused or PrivilegeError when DynamoDB refuses all
        such requests (no such table, no permission): any of the operations may then be written or not, so nothing
        of this call may be checkpointed. Repeating the whole call is harmless.
        """
        if operations:
            assert _all_differ(operations), "an item occurs twice"
            self._before(operations)
        plain = [operation for operation in operations if not isinstance(operation, Update | Guarded)]
        jobs: list[Sequence[ItemOperation]] = [
            plain[start : start + MAX_BATCH_WRITE] for start in range(0, len(plain), MAX_BATCH_WRITE)
        ]
        if len(plain) < len(operations):
            jobs += [(operation,) for operation in operations if isinstance(operation, Update | Guarded)]
        rejected = list(chain.from_iterable(self._at_once.do_all(jobs)))
        with self._calls.lock:
            self._own["items"] += len(operations) - len(rejected)
            self._own["rejected"] += len(rejected)
        return rejected

    def take_held(self) -> int:
        """How many operations their condition skipped since this was asked last."""
        with self._calls.lock:
            new = self._own["held"] - self._held_taken
            self._held_taken += new
        return new

    def take_spent(self) -> Spent:
        """What was spent since this was asked last; an item that was left out is a throttle, too."""
        return self._calls.take_spent(self._own["unprocessed"])

    async def _write_job(self, operations: Sequence[ItemOperation]) -> list[Rejected]:
        try:
            return await self._work(operations)
        except GeneratorExit:  # given up with its round: what was sent may still arrive
            self._calls.unanswered.add(whose())
            raise
        finally:
            if self._calls.unanswered and whose() in self._calls.unanswered:
                self._calls.unanswered.discard(whose())
                self._astray(operations)

    def _work(self, operations: Sequence[ItemOperation]) -> Work[list[Rejected]]:
        first = operations[0]
        if isinstance(first, Update):
            return self._update(first)
        if isinstance(first, Guarded):
            return self._guarded(first)
        return self._write_batch(operations)  # type: ignore[arg-type]  # a job is one Update or Guarded, or none at all

    # Put and Delete

    async def _write_batch(self, operations: Sequence[Plain]) -> list[Rejected]:
        try:
            body = batch_body(operations)
        except TypeError as error:  # orjson's, for lone surrogates: no Unicode, so no DynamoDB string
            return await self._halve(operations, f"cannot be written as JSON: {error}")
        if len(body) > MAX_ITEM_BYTES:  # below it, no item is too large: JSON is never shorter than what it says
            too_large = [rejected for operation in operations if (rejected := _too_large(operation))]
            if too_large:
                bad = {id(rejected.operation) for rejected in too_large}
                rest = [operation for operation in operations if id(operation) not in bad]
                return too_large + (await self._write_batch(rest) if rest else [])
        if len(body) > MAX_REQUEST and len(operations) > 1:
            return await self._halve(operations, "")
        return await self._send_batch(operations, body)

    async def _send_batch(self, operations: Sequence[Plain], body: bytes) -> list[Rejected]:
        backoff = Backoff()
        while True:
            try:
                read = partial(unprocessed, operations)
                units, took = self._units(operations), partial(_some_of, operations)
                remaining = await self._calls.ask("BatchWriteItem", body, read, units, took)
            except RequestRefused as error:
                if error.code not in ITEM_FAULTS:
                    raise
                return await self._halve(operations, error.message)
            if not remaining:
                return []
            self._left_out(len(remaining))
            if len(remaining) < len(operations):
                backoff.reset()
            operations, body = remaining, batch_body(remaining)
            await self._calls.wait(backoff.next())

    async def _halve(self, operations: Sequence[Plain], reason: str) -> list[Rejected]:
        """One bad item refuses its whole batch: find it by halves; the rest continues."""
        if len(operations) == 1:
            return [Rejected(operations[0], reason)]
        middle = len(operations) // 2
        return await self._write_batch(operations[:middle]) + await self._write_batch(operations[middle:])

    # Guarded

    async def _guarded(self, guarded: Guarded) -> list[Rejected]:
        """A call that is repeated after a lost answer finds our own item, of which the condition holds."""
        try:
            name, body = guarded_body(guarded)
            if len(body) > MAX_ITEM_BYTES and (rejected := _too_large(guarded.operation)):
                return [Rejected(guarded, rejected.reason)]
            await self._calls.ask(name, body, partial(acknowledged, guarded.table), write_units(len(body)))
        except TypeError as error:
            return [Rejected(guarded, f"cannot be written as JSON: {error}")]
        except RequestRefused as error:
            if error.code == CONDITION_FAILED:
                with self._calls.lock:
                    self._own["held"] += 1
                return []
            if error.code not in ITEM_FAULTS:
                raise
            return [Rejected(guarded, error.message)]
        return []

    # Update

    async def _update(self, update: Update) -> list[Rejected]:
        """Set, then remove; then delete an item that is left with nothing but its frame.

        A crash between the last two leaves a bare item, and no checkpoint: the replay removes again and deletes it.
        """
        try:
            return (
                await self._update_inside(update, update.inside) if update.inside else await self._update_item(update)
            )
        except NotOurs as error:
            return [Rejected(update, str(error))]
        except TypeError as error:
            return [Rejected(update, f"cannot be written as JSON: {error}")]
        except RequestRefused as error:
            if error.code not in ITEM_FAULTS:
                raise
            return [Rejected(update, error.message)]

    async def _update_item(self, update: Update) -> list[Rejected]:
        bodies = update_bodies(update)
        if sum(map(len, bodies)) > MAX_ITEM_BYTES and (rejected := _too_large(update)):
            return [rejected]  # before a part of it is written
        if sets_entries(update):
            for body in bodies:
                await self._calls.ask("UpdateItem", body, partial(acknowledged, update.table), write_units(len(body)))
            return []
        remaining: Item | None = None
        for body in bodies:
            remaining = await self._call_if(body, partial(attributes_left, update.table, update.key))
            if remaining is None:
                return []  # no such item: there is nothing to remove, and nothing to delete
        if remaining is not None:
            await self._delete_bare(update, remaining)
        return []

    async def _delete_bare(self, update: Update, remaining: Item) -> bool:
        """Delete the item if nothing but its frame is left."""
        bare = update.frame.union(update.key).issuperset(remaining)
        if bare:
            body = delete_body(update.table, update.key)
            await self._calls.ask("DeleteItem", body, partial(acknowledged, update.table), 1.0)
        return bare

    # Update of entries inside an attribute

    async def _update_inside(self, update: Update, inside: Inside) -> list[Rejected]:
        """Set, then remove, as above; what is left empty goes, and with it an item that has nothing else."""
        if rejected := _too_large(update):
            return [rejected]
        if inside.gathered or inside.path or inside.beside:
            await self._update_by_reading(update, inside)
        elif inside.kind == "L":
            await self._update_list(update, inside)
        elif inside.kind == "M":
            await self._update_map(update, inside)
        else:
            for what, body in set_bodies(update, inside):
                if what == "add":
                    await self._call_if(body, partial(acknowledged, update.table))
                    continue
                remaining = await self._call_if(body, partial(attributes_left, update.table, update.key))
                if remaining is not None and not inside.set:
                    await self._delete_bare(update, remaining)
        return []

    async def _update_map(self, update: Update, inside: Inside) -> None:
        for within, whole in map_set_bodies(update, inside):
            written = partial(acknowledged, update.table)
            # One of the two conditions holds, unless somebody else removes and makes the map between the calls.
            while await self._call_if(within, written) is None and await self._call_if(whole, written) is None:
                await self._calls.wait(0.0)
        remaining: Item | None = None
        for body in map_remove_bodies(update, inside):
            remaining = await self._call_if(body, partial(map_left, update, inside))
        if remaining is not None and not inside.set and is_empty(remaining[inside.name]):
            await self._remove_inside(update, inside, remaining)

    async def _update_list(self, update: Update, inside: Inside) -> None:
        """Read, change and write back: nobody else writes this item meanwhile, and a repetition gives the same list."""
        read = partial(item_found, update.table, update.key)
        item = await self._calls.ask("GetItem", get_body(update.table, update.key), read, 1.0) or {}
        elements = elements_after(item, inside)
        if elements:
            body = list_body(update, elements)
            await self._calls.ask("UpdateItem", body, partial(acknowledged, update.table), write_units(len(body)))
        elif inside.name in item:
            await self._remove_inside(update, inside, item)

    async def _update_by_reading(self, update: Update, inside: Inside) -> None:
        """Read, change and write back, while the map is the one that was read: then what is gathered is of the very
        entries beside it, and what others have in the map stays, whoever else writes, and whichever answer was lost. A
        store that takes a map for another one than itself (dynalite does) is written as it is for a list, without that
        question.
        """
        read, refused = partial(item_found, update.table, update.key), list[AttributeValue | None]()
        while True:
            item = await self._calls.ask("GetItem", get_body(update.table, update.key), read, 1.0) or {}
            entries, was = entries_after(item, inside), item.get(inside.name)
            names = {inside.name, *([inside.gathered.name] if inside.gathered else [])}
            if not entries and names.isdisjoint(item):
                return
            rest = {name: value for name, value in item.items() if name not in names}
            if not entries and await self._delete_bare(update, rest):
                return
            body = gathered_body(update, inside, was, entries, asks=was not in refused)
            if await self._call_if(body, partial(acknowledged, update.table)) is not None:
                return
            refused = [was]
            await self._calls.wait(0.0)

    async def _remove_inside(self, update: Update, inside: Inside, item: Item) -> None:
        """Delete the item, or, if it has more than the frame, its attribute without entries."""
        rest = {name: value for name, value in item.items() if name != inside.name}
        if not await self._delete_bare(update, rest):
            await self._call_if(remove_body(update, inside), partial(attributes_left, update.table, update.key))

    async def _call_if(self, body: bytes, read: Callable[[Answer], Result]) -> Result | None:
        """What ``read`` makes of the answer to a conditional UpdateItem; None if its condition does not hold."""
        try:
            return await self._calls.ask("UpdateItem", body, read, write_units(len(body)))
        except RequestRefused as error:
            if error.code == CONDITION_FAILED:
                return None
            raise

    def _units(self, operations: Sequence[Plain]) -> float:
        """What the operations will cost by estimate: of a Delete or an overwritten item we know no size."""
        if not self._calls.pace.rate:
            return 0.0
        return sum(write_units(operation_size(each)) for each in operations)

    def _left_out(self, items: int) -> None:
        with self._calls.lock:
            self._limit.halve()
            self._own["unprocessed"] += items


def _all_differ(operations: Sequence[ItemOperation]) -> bool:
    """Whether each of ``operations`` is of another item."""
    if isinstance(operations[0], PutText):
        texts_alone = {(each.table, each.key_text) for each in operations if isinstance(each, PutText)}
        if len(texts_alone) == len(operations):
            return True
    try:  # one call for all keys takes a third of the time; a line never ends within a string of JSON
        texts: list[Any] = orjson.dumps([each.key for each in operations], option=orjson.OPT_INDENT_2).split(_NEXT_KEY)
        texts[0], texts[-1] = texts[0].removeprefix(b"[\n  {"), texts[-1].removesuffix(b"\n  }\n]")
    except TypeError:  # for lone surrogates; ten times slower
        texts = [repr(each.key) for each in operations]
    return len(set(zip([each.table for each in operations], texts, strict=True))) == len(operations)


def _too_large(operation: Plain | Update) -> Rejected | None:
    size = operation_size(operation)
    if size <= MAX_ITEM_BYTES:
        return None
    return Rejected(operation, oversize_reason(size))


def _some_of(operations: Sequence[ItemOperation], left: Sequence[ItemOperation]) -> bool:
    return len(left) < len(operations)
