"""Changes of several lanes, written by the same fold and the same writer as in a process.

Each lane writes what belongs to its own items, and nothing else: a change that moves a row between items of two lanes
comes in both, and each does its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from whimbrel.dynamodb.write import Writer
from whimbrel.function.known import Works
from whimbrel.kinesis.lanes import lane_of
from whimbrel.kinesis.packed import Numbered
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.fold import by_table
from whimbrel.mapping.provenance import of_change
from whimbrel.mapping.versions import Versions
from whimbrel.records import Change, Fault, ItemOperation, Provenance


@dataclass(frozen=True, slots=True)
class _LanePart:
    """Changes of one version of a table, for one lane, in log order."""

    lane: int
    mapping: TableMapping
    changes: Sequence[Change]


def write(lanes: Mapping[int, Sequence[Numbered]], works: Works, writer: Writer) -> list[Fault]:
    """Write the items of all ``lanes``; on return everything is acknowledged, but for what the faults say.

    Raises what Writer.write raises: then nothing of it counts.
    """
    provenance, rules = _provenances(lanes.values(), works.began), rules_by_table(works.versions)
    faults: list[Fault] = []
    parted = [_parts(lane, [each.change for each in changes], works.versions, rules) for lane, changes in lanes.items()]
    for parts in zip_longest(*parted):  # of a lane one after the other: two tables may share an item
        by_source: dict[str, list[_LanePart]] = {}
        for part in filter(None, parts):
            by_source.setdefault(part.mapping.source, []).append(part)
        for source, mine in by_source.items():  # lanes have no item in common
            faults += _written(source, mine, provenance, writer)
    return faults


def _parts(
    lane: int, changes: list[Change], versions: Mapping[str, Versions], rules: Mapping[str, Sequence[str]]
) -> list[_LanePart]:
    return [
        _LanePart(lane, versions[rule].of(mine[0].table), mine)
        for mine in by_table(changes)
        for rule in rules[mine[0].table.full_name]
    ]


def _written(
    source: str, parts: Sequence[_LanePart], provenance: Callable[[Change], Provenance], writer: Writer
) -> list[Fault]:
    operations: list[ItemOperation] = []
    faults: list[Fault] = []
    for part in parts:
        made, unmappable = part.mapping.fold(part.changes, provenance)
        operations += [each for each in made if lane_of(each.key) == part.lane]
        faults += [each for each in unmappable if each.item_key is not None and lane_of(each.item_key) == part.lane]
    for rejected in writer.write(operations):
        fault = rejected.fault(source)
        part = next(each for each in parts if each.lane == lane_of(rejected.operation.key))
        faults.append(_traced(fault, part, provenance) if part.mapping.change_metadata else fault)
    return faults


def _traced(fault: Fault, part: _LanePart, provenance: Callable[[Change], Provenance]) -> Fault:
    """With the last change that would have written its item."""
    for change in reversed(part.changes):
        operations, _ = part.mapping.fold([change], provenance)
        if any(operation.key == fault.item_key for operation in operations):
            return fault._replace(change=change, provenance=provenance(change))
    return fault


def _provenances(lanes: Iterable[Sequence[Numbered]], began: float) -> Callable[[Change], Provenance]:
    """A change's, made when it is asked for."""
    known = {id(each.change): each for changes in lanes for each in changes}

    def of(change: Change) -> Provenance:
        number, time, _ = known[id(change)]
        return of_change(change, number, time, began)

    return of
