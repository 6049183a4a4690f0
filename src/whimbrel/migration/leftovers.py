"""Items that no row of a rule makes. After a return to the source there are some where a table is in several rules:
what the application deleted at DynamoDB is gone from the items of one rule, and copies of it are left in the others'.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import orjson

from whimbrel.dynamodb.pace import RateLimiter
from whimbrel.dynamodb.read import scan
from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.owned import owned_by
from whimbrel.migration.load_part import sliced
from whimbrel.migration.retry import operations
from whimbrel.migration.run import Run
from whimbrel.records import Fault, Item, Put
from whimbrel.spill import PartitionFiles

KEYS_OF_A_PARTITION = 100_000  # in memory at once
PAGE_ITEMS = 1_000


class Leftovers:
    """Of one rule, while the run lock keeps the applier out: first ``made`` is told of all that its rows make, then
    ``remove`` reads the target. A row that came since has no item yet, and a change in the log.
    """

    def __init__(self, run: Run, mapping: TableMapping, folder: Path) -> None:
        self._run, self._mapping = run, mapping
        partitions = 1 + run.prepared.estimates[mapping.source] // KEYS_OF_A_PARTITION
        self._made = PartitionFiles(_folder(folder / "made"), partitions)
        self._found = PartitionFiles(_folder(folder / "found"), partitions)

    def made(self, puts: Iterable[Put], faults: Iterable[Fault]) -> None:
        """Also what has an item, but cannot be mapped now."""
        for key in (*(put.key for put in puts), *(fault.item_key for fault in faults)):
            if key:
                self._made.add(key_id(key), b"")

    def remove(self) -> int:
        """How many items were removed, or what this rule's rows wrote of them."""
        self._read_target()
        return sum(self._remove_of(number) for number in range(self._found.partitions))

    def _read_target(self) -> None:
        run, mapping, owned = self._run, self._mapping, owned_by([self._mapping])
        names = [name for name, _ in mapping.key_attributes]

        def page(items: list[Item]) -> None:
            for item in filter(owned.has, items):
                key = {name: item[name] for name in names}
                nothing = mapping.shared and mapping.removing(key, item) == mapping.removing(key, {})
                if not nothing and not mapping.change_metadata.is_deleted(item):
                    self._found.add(key_id(key), orjson.dumps(key))

        pace = RateLimiter(run.prepared.project.target.max_read_units)
        scan(run.wire, mapping.target, 1, page, consistent=True, pace=pace, page_items=PAGE_ITEMS, stop=run.stop)

    def _remove_of(self, number: int) -> int:
        run, mapping, removed = self._run, self._mapping, 0
        made = {key for key, _ in self._made.partition(number)}
        gone = [orjson.loads(record) for key, record in self._found.partition(number) if key not in made]
        for part in sliced(iter(operations(run, mapping, [], gone))):
            rejected = run.writer.write(part)
            run.progress.dead += run.dead.add([each.fault(mapping.source) for each in rejected], "refill")
            removed += len(part) - len(rejected)
        return removed - run.count_held()

    def __enter__(self) -> Leftovers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._made.close()
        self._found.close()


def _folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
