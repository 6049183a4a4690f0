"""Refill: write the items of every row of a table again, as the source has them now.

For what an ALTER does to rows without a word in the binlog: the default of a new column, a column that went. All that
the source had is applied first, so that no change is left in the log that was written before the ALTER. Then the run
lock keeps the applier out while rows are read and put; the changes since, which will be applied after, end in the same
state: the last Change of each row decides.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import NamedTuple

from whimbrel.dynamodb.read import get_items
from whimbrel.item import key_id
from whimbrel.migration.follow import follow, quieten
from whimbrel.migration.leftovers import Leftovers
from whimbrel.migration.load_part import sliced
from whimbrel.migration.lookup import read_whole_table
from whimbrel.migration.portions import Portions
from whimbrel.migration.positions import drained, source_end
from whimbrel.migration.regroup import Regrouped
from whimbrel.migration.retry import everything_applied_is_visible, operations
from whimbrel.migration.run import Run
from whimbrel.mysql.connect import connect
from whimbrel.records import Put, Row
from whimbrel.spill import partitions_for


class Refilled(NamedTuple):
    """How many items were put, and how many that no row makes were removed."""

    items: int
    removed: int


def refill(run: Run, source: str, *, remove: bool = False) -> Refilled:
    """Fewer items than there are when the run was stopped; then none is removed. May be repeated at any time.

    Raises StateError before the load is complete, SchemaDrift if the table is altered meanwhile.
    """
    run.start_capture()
    follow(run, drained(run, source_end(run)))
    refiller, removed, mapping = Refiller(run, source), 0, run.prepared.mappings[source]
    if not run.stop.is_set():
        quieten(run)
        with closing(connect(run.prepared.project.source)) as connection:
            everything_applied_is_visible(run, connection)  # or an older row could overwrite what was just applied
        assert run.dirty is not None, "changes are applied before"
        run.dirty.add_whole(mapping.target)  # before the first item is put
        with Leftovers(run, mapping, run.folder.root / "leftovers") if remove else nullcontext() as leftovers:
            refiller.fill(leftovers)
            if leftovers and not run.stop.is_set():
                removed = leftovers.remove()
    return Refilled(refiller.items, removed)


class Refiller:
    def __init__(self, run: Run, source: str) -> None:
        self.items = 0
        self._run = run
        self._mapping = run.prepared.mappings[source]
        self._leftovers: Leftovers | None = None
        self._counts = run.progress.tables[source]
        self._counts.exported_rows = 0
        run.progress.phase, run.progress.note = "refill", source

    def fill(self, leftovers: Leftovers | None = None) -> None:
        """``leftovers`` are told of everything that is made."""
        self._leftovers = leftovers
        if self._mapping.aligned:
            self._read(self._put)
            return
        folder = self._run.folder.spill
        shutil.rmtree(folder, ignore_errors=True)  # what a crash left
        portions = Portions(self._mapping, folder)
        partitions = partitions_for(self._rows())
        with Regrouped(self._mapping, folder, partitions) as groups:
            self._read(groups.add)
            for number in range(partitions):
                if self._run.stop.is_set():
                    return  # they may not be whole
                for rows in portions.of(groups.sized(number)):
                    self._put(rows)
                    del rows  # before the next ones are read

    def _rows(self) -> int:
        """About: the server's estimate may be from before a load of millions."""
        run, source = self._run, self._mapping.source
        return max(run.prepared.estimates[source], run.checkpoints.now.table(source).rows_exported)

    def _put(self, rows: list[Row]) -> None:
        """``rows`` have all rows of their items."""
        run, source = self._run, self._mapping.source
        puts, faults = self._mapping.put_items(rows, run.of_snapshot)
        if self._leftovers:
            self._leftovers.made(puts, faults)
        if self._mapping.change_metadata:
            puts = self._with_old_metadata(puts)
        for part in sliced(iter(operations(run, self._mapping, puts, []))):
            faults += [rejected.fault(source) for rejected in run.writer.write(part)]
        run.count_held()
        run.progress.dead += run.dead.add(faults, "refill")
        self.items += len(puts)

    def _with_old_metadata(self, puts: list[Put]) -> list[Put]:
        """With the change metadata of the items that are there: a refill is not a change."""
        run, mapping = self._run, self._mapping
        found = get_items(run.wire, mapping.target, [put.key for put in puts], stop=run.stop)
        return [
            put._replace(item=mapping.change_metadata.carried_over(put.item, found.get(key_id(put.key), {})))
            for put in puts
        ]

    def _read(self, use: Callable[[list[Row]], None]) -> None:
        def count(rows: int) -> None:
            self._counts.exported_rows += rows

        run = self._run
        folder = run.folder.root / "refill"
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier one left when it was stopped
        read_whole_table(run.prepared.project.source, self._mapping, folder, use, count, run.stop)
