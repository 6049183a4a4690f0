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

PARTITIONS = 64  # on disk; one that does not fit into memory is gone through several times
PAGE_ITEMS = 1_000


class Leftovers:
    """Of one rule, while the run lock keeps the applier out: first ``made`` is told of all that its rows make, then
    ``remove`` reads the target. A row that came since has no item yet, and a change in the log.
    """

    def __init__(self, run: Run, mapping: TableMapping, folder: Path) -> None:
        self._run, self._mapping = run, mapping
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = PartitionFiles(folder, PARTITIONS)  # made, without a record, and then found

    def made(self, puts: Iterable[Put], faults: Iterable[Fault]) -> None:
        """Also what has an item, but cannot be mapped now."""
        for key in (*(put.key for put in puts), *(fault.item_key for fault in faults)):
            if key:
                self._keys.add(key_id(key), b"")

    def remove(self) -> int:
        """How many items were removed, or what this rule's rows wrote of them."""
        self._read_target()
        return sum(self._remove_of(records) for records in self._keys.in_passes())

    def _read_target(self) -> None:
        run, mapping, owned = self._run, self._mapping, owned_by([self._mapping])
        names = [name for name, _ in mapping.key_attributes]

        def page(items: list[Item]) -> None:
            for item in filter(owned.has, items):
                key = {name: item[name] for name in names}
                nothing = mapping.shared and mapping.removing(key, item) == mapping.removing(key, {})
                if not nothing and not mapping.change_metadata.is_deleted(item):
                    self._keys.add(key_id(key), orjson.dumps(key))

        pace = RateLimiter(run.prepared.project.target.max_read_units)
        scan(run.wire, mapping.target, 1, page, consistent=True, pace=pace, page_items=PAGE_ITEMS, stop=run.stop)

    def _remove_of(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        run, mapping, removed = self._run, self._mapping, 0
        made, gone = set[bytes](), list[Item]()
        for key, record in records:
            if not record:
                made.add(key)
            elif key not in made:
                gone.append(orjson.loads(record))
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
        self._keys.close()
