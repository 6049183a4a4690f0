"""Threads that write the lanes' records into the source. A lane is one thread's: so its records stay in their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from whimbrel.dynamodb.streams import StreamRecord
from whimbrel.errors import StateError
from whimbrel.handover.reading import Portion, StreamedChange
from whimbrel.item import key_id
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.migration.dead import DeadLetters
from whimbrel.mysql.reverse_tables import LANES, NOWHERE, Lane, Place
from whimbrel.mysql.write_rows import ItemChange, Refusal, RowWriter
from whimbrel.records import Fault
from whimbrel.threads import Thread

WRITERS = 4
AT_ONCE = 500  # records of one transaction, about
MOST_LETTERS = 10_000
LETTERS = "reverse-dead.jsonl"  # in the state folder
PHASE = "reverse"
EXPIRED = "DynamoDB's time to live deleted it: see ttl in [cutover]"
LEFT_OVER = "DynamoDB's time to live deleted it when it could not be written back: its rows are older"
_LOOK = 0.1


class WriteRules(NamedTuple):
    """``ttl``: what is done about items that DynamoDB's time to live deleted: stop, skip or apply."""

    new_attributes: str = "stop"
    ttl: str = "stop"


class ItemLetters:
    """Items that could not be written back. Such an item's next change is written whole: the rows are not as its old
    image says.
    """

    def __init__(self, letters: DeadLetters) -> None:
        self._letters, self._lock = letters, threading.Lock()
        self._keys = {(letter["table"], key_id(letter["item_key"])) for letter in letters.letters()}

    def __len__(self) -> int:
        return len(self._letters)

    def has(self, target: str, key: bytes) -> bool:
        return (target, key) in self._keys

    def add(self, refusals: list[tuple[ItemChange, str, StreamRecord]]) -> None:
        """Durable on return. Raises StateError when they are too many: then it is not the items that are wrong."""
        with self._lock:
            faults = [Fault(item.target, reason, {}, record.keys, None) for item, reason, record in refusals]
            self._letters.add(faults, PHASE)
            self._keys |= {(item.target, item.key) for item, _, _ in refusals}
            if len(self._letters) > MOST_LETTERS:
                raise StateError(
                    f"more than {MOST_LETTERS} items could not be written back, the last because {refusals[-1][1]}",
                    place=refusals[-1][0].target,
                    hint=f"See the letters in {LETTERS}; the stream continues from here when it is started.",
                )


def forget_letters(root: Path) -> None:
    """Those that are left when the source is given back were accepted, and noted in ``migration.waivers``: they say
    nothing of what the next cutover's stream has to write. Durable on return; may be repeated.
    """
    DeadLetters(root / LETTERS).settle(lambda _: True, (), PHASE)


class Writing:
    def __init__(
        self,
        writers: list[RowWriter],
        inverses: Mapping[str, ItemInverse],
        rules: WriteRules,
        letters: ItemLetters,
        durable: dict[Lane, Place],
        on_error: Callable[[BaseException], None],
        over: threading.Event,
    ) -> None:
        """``inverses`` are by target; ``durable`` is told each place once it is committed."""
        self._writers, self._inverses, self._rules = writers, inverses, rules
        self._letters, self._durable, self._on_error, self._over = letters, durable, on_error, over
        self._queues: list[queue.Queue[Portion]] = [queue.Queue() for _ in writers]
        self._threads = [Thread(partial(self._run, n), f"reverse-write-{n}") for n in range(len(writers))]
        self.written = 0  # records

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        for writer in self._writers:
            writer.close()

    def hand(self, portion: Portion) -> None:
        self._queues[portion.lane.lane % len(self._queues)].put(portion)

    def _run(self, number: int) -> None:
        try:
            while not self._over.is_set():
                if portions := self._next(self._queues[number]):
                    self._write(self._writers[number], portions)
        except BaseException as error:  # the thread that follows raises it
            self._on_error(error)

    def _next(self, waiting: queue.Queue[Portion]) -> list[Portion]:
        found: list[Portion] = []
        with suppress(queue.Empty):
            found.append(waiting.get(timeout=_LOOK))
            while sum(len(portion.records) for portion in found) < AT_ONCE and len(found) < 8 * LANES:
                found.append(waiting.get_nowait())
        return found

    def _write(self, writer: RowWriter, portions: list[Portion]) -> None:
        records: dict[tuple[Lane, int], StreamRecord] = {}
        skipped: dict[tuple[str, bytes], StreamRecord] = {}
        items, places = [], dict[Lane, Place]()
        for portion in portions:
            for record in portion.records:
                if self._is_skipped(portion.target, record):
                    skipped[portion.target, record.key] = record.change
                    continue
                item = self._item(portion, record)
                items.append(item)
                records[item.lane, item.sequence] = record.change
            places[portion.lane] = portion.last

        def refused(refusals: list[Refusal]) -> None:
            letters = [(item, why, records[item.lane, item.sequence]) for item, why in refusals]
            for item, _ in refusals:
                expired = skipped.get((item.target, item.key))
                if expired and int(expired.sequence) > item.sequence:
                    letters.append((item, LEFT_OVER, expired))
            self._letters.add(letters)

        writer.write(items, places, refused)
        for lane, place in places.items():  # a lane that was ahead in an earlier process stays so
            self._durable[lane] = max(place, self._durable.get(lane, NOWHERE))
        self.written += len(items)
        for portion in portions:
            portion.page.written()

    def _is_skipped(self, target: str, record: StreamedChange) -> bool:
        """The rows stay as they are, if they are as the item said."""
        return self._rules.ttl == "skip" and record.change.expired and not self._letters.has(target, record.key)

    def _item(self, portion: Portion, record: StreamedChange) -> ItemChange:
        change, target = record.change, portion.target
        sequence = int(change.sequence)
        if change.expired and self._rules.ttl != "apply":
            reason = LEFT_OVER if self._rules.ttl == "skip" else EXPIRED
            return ItemChange(portion.lane, sequence, target, record.key, (), reason)
        whole = self._letters.has(target, record.key)
        changes, reasons = self._inverses[target].changes(change.old, change.new, whole=whole)
        return ItemChange(portion.lane, sequence, target, record.key, changes, "; ".join(reasons[:5]))
