"""What is known of a table's attributes while it is converted: pinned types, and what the values of the others show."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from whimbrel.errors import UserError
from whimbrel.lake.fast import Attribute, Plan
from whimbrel.lake.manifest import Field
from whimbrel.lake.types import TAGS_OF, Shape, Type, flat, with_fields
from whimbrel.lake.values import is_plain, typed
from whimbrel.records import AttributeValue, Item

RESERVED = ("_deleted", "_sequence", "file_row_number")  # the last one is DuckDB's
MOST_ATTRIBUTES = 5_000  # each is a column, and one item may have 40,000 names


class KnownTypes:
    """Grows with what is seen; thread-safe. A pinned type never changes but for names that a map has more."""

    def __init__(self, pinned: Mapping[str, Type], key: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self.key, self.exclude = tuple(key), frozenset(exclude)
        self.added: list[str] = []  # attributes that the pinned ones had not
        self._pinned = dict(pinned)
        self._shapes: dict[str, Shape] = {}
        self._lock = threading.Lock()

    def types(self) -> dict[str, Type]:
        """The type of each attribute as it stands now: the key first, pinned ones, then as they were first seen."""
        with self._lock:
            found = self._pinned | {name: shape.type() for name, shape in self._shapes.items()}
        first = {name: found[name] for name in self.key if name in found}
        return first | found

    def see(self, item: Item) -> None:
        for name, value in item.items():
            if name not in self._pinned:
                self.grow(name, value)

    def grow(self, name: str, value: AttributeValue) -> None:
        """Make room for a value that does not fit. Raises Misfit when the type is pinned and must stay, UserError where
        there are too many attributes.
        """
        with self._lock:
            if name not in self._pinned:
                if name not in self._shapes:
                    if len(self._pinned) + len(self._shapes) >= MOST_ATTRIBUTES:
                        raise _too_many()
                    self._shapes[name] = Shape()
                    self.added.append(name)
                self._shapes[name].see(value)
                return
            shape = Shape()
            shape.see(value)
            wider = with_fields(self._pinned[name], shape.type())
            typed(value, wider)
            self._pinned[name] = wider

    def grow_range(self, name: str, low: int, high: int) -> None:
        """Whole numbers between these were seen."""
        with self._lock:
            if shape := self._shapes.get(name):
                shape.numbers.add_range(low, high)

    def mixed(self) -> list[str]:
        """Attributes that have values of several types, and so are carried as DynamoDB's JSON."""
        with self._lock:
            return [name for name, shape in self._shapes.items() if len(shape.tags) > 1]

    def alike(self) -> list[list[str]]:
        """The names of attributes, and of what is in maps, that differ by letter case only; each with its path."""
        with self._lock:
            found = _alike(dict.fromkeys({**self._pinned, **self._shapes}.keys() - self.exclude), "")
            return found + [group for name, shape in self._shapes.items() for group in _alike_in(shape, name)]


def _too_many() -> UserError:
    message = f"the items have more than {MOST_ATTRIBUTES:,} different attributes, and each would be a column"
    return UserError(message, hint="Keep names that are data in a map: a map of more than 500 names is one column.")


def _alike_in(shape: Shape, path: str) -> list[list[str]]:
    inner = list(shape.fields.items()) + ([("[]", shape.element)] if shape.element else [])
    found = _alike(shape.fields, f"{path}.")
    return found + [group for name, each in inner for group in _alike_in(each, f"{path}.{name}")]


def _alike(names: Iterable[str], prefix: str) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(name.lower(), []).append(prefix + name)
    return [group for group in groups.values() if len(group) > 1]


def plan_of(types: Mapping[str, Type]) -> Plan:
    return tuple(Attribute(name, TAGS_OF[kind.kind][0] if is_plain(kind) else "") for name, kind in types.items())


def fields_of(types: Mapping[str, Type], exclude: Iterable[str], flatten: bool) -> list[tuple[Field, tuple[str, ...]]]:
    """The data set's columns, each with its path inside the attribute. Names are made unique without regard to case."""
    taken = set(RESERVED)
    found: list[tuple[Field, tuple[str, ...]]] = []
    for attribute, kind in types.items():
        if attribute in exclude:
            continue
        for wanted, leaf, path in flat(attribute, kind) if flatten else [(attribute, kind, ())]:
            name, number = wanted or "_", 1
            while name.lower() in taken:
                number += 1
                name = f"{wanted}_{number}"
            taken.add(name.lower())
            found.append((Field(name, str(leaf), attribute=attribute), path))
    return found
