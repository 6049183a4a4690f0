"""Items over 400 KB of a table whose rule says that they end the run."""

from __future__ import annotations

from collections.abc import Iterable

from whimbrel.errors import MappingError
from whimbrel.item import is_oversize
from whimbrel.project import TableRule
from whimbrel.records import Fault


def refuse_oversize(rule: TableRule, faults: Iterable[Fault]) -> None:
    """Must be called before the faults are letters, and before anything counts as done. Raises MappingError."""
    if rule.oversize != "stop":
        return
    for fault in faults:
        if is_oversize(fault.reason):
            raise MappingError(
                f'{fault.reason}: {fault.item_key or fault.source_key}, and oversize is "stop"',
                place=fault.table,
                hint="Make the row smaller at the source, split the group in a new migration, or say "
                'oversize = "dead" and run the same command again: then the item is a dead letter.',
            )
