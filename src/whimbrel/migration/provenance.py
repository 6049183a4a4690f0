"""The change metadata of one batch of the log, for the mappings that have it. Nothing is done for the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from whimbrel.changelog.files import ChangeLogReader
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.provenance import of_change
from whimbrel.records import Change, Commit, Fault, Provenance


class Provenances:
    """Of the changes of ``batch``, of which the first is number ``before`` + 1 of the log.

    A change's number and its transaction's time depend on the log alone, not on the batches in which it is read.
    """

    def __init__(self, reader: ChangeLogReader, batch: Sequence[Change | Commit], before: int, began: float) -> None:
        self._reader = reader
        self._batch = batch
        self._before = before
        self._began = began

    def of(self, change: Change) -> Provenance:
        return self._known[id(change)]

    def traced(self, fault: Fault, mapping: TableMapping, changes: Sequence[Change]) -> Fault:
        """The fault of an operation, with the last of ``changes`` that would have written its item."""
        for change in reversed(changes):
            operations, _ = mapping.fold([change], self.of)
            if any(operation.key == fault.item_key for operation in operations):
                return fault._replace(change=change, provenance=self.of(change))
        return fault

    @cached_property
    def _known(self) -> dict[int, Provenance]:
        found: dict[int, Provenance] = {}
        number, transaction = self._before, list[Change]()
        for entry in self._batch:
            if isinstance(entry, Change):
                transaction.append(entry)
                continue
            number = self._note(found, transaction, number, entry)
            transaction = []
        if transaction:  # it continues in the next batch
            self._note(found, transaction, number, self._reader.commit_ahead())
        return found

    def _note(self, found: dict[int, Provenance], changes: Sequence[Change], number: int, commit: Commit) -> int:
        for number, change in enumerate(changes, number + 1):  # noqa: B020
            found[id(change)] = of_change(change, number, commit.timestamp, self._began)
        return number
