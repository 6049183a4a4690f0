"""What a layout costs in a month: the one figure that the search compares. docs/design.md says how it is reckoned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from whimbrel.checks.access.parse import ParsedStatement
from whimbrel.checks.cost import GB, ITEM_OVERHEAD, Prices
from whimbrel.checks.following import MONTH
from whimbrel.errors import MappingError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import family_faults
from whimbrel.project import TableRule
from whimbrel.proposal.answered import Answered, answered
from whimbrel.proposal.known import KnownTable
from whimbrel.proposal.placement import PART, Layout, Names, Placed, root_of, rules_of
from whimbrel.proposal.weighed import Weighed, storage_bytes, weighed

WRITE_MILLION, STORAGE_GB = 0.625, 0.25  # dollars where no price is known: they only weigh one against the other then
MOST_ENTRIES, LARGEST_ITEM = 100, 64 * 1024  # of an item with embedded parts, at most, as it is now

FamilyKey = tuple[tuple[str, Placed], ...]


class Asking(NamedTuple):
    """A statement, how often a second it is asked, and the full names of its tables."""

    number: int
    statement: ParsedStatement
    per_second: float
    tables: tuple[str, ...]


def asking(number: int, statement: ParsedStatement, per_second: float) -> Asking:
    tables = tuple(dict.fromkeys(each.table.full_name for each in statement.tables))
    return Asking(number, statement, per_second, tables)


class Scale:
    """Weighs layouts of the tables ``known``. Remembers what it has weighed.

    ``steps`` counts what takes time: layouts that were weighed, targets that were made, statements that were answered.
    """

    def __init__(
        self, known: Mapping[str, KnownTable], askings: Sequence[Asking], names: Names, prices: Prices
    ) -> None:
        self.known, self.askings, self.names = known, askings, names
        self.write = (prices.write_million or WRITE_MILLION) / 1e6 * MONTH
        self.storage = prices.storage_gb or STORAGE_GB
        self.about: dict[str, list[Asking]] = {name: [] for name in known}
        for each in askings:
            for name in each.tables:
                self.about[name].append(each)
        self.steps = 0
        self.refused: set[tuple[str, Placed]] = set()  # what a check of the data itself would not take
        self._tables = {name: each.table for name, each in known.items()}
        self._numbers: dict[FamilyKey, int] = {}
        self._families: list[dict[str, list[Weighed]] | None] = []  # None: the target cannot be so
        self._storage: list[float] = []
        self._mappings: dict[tuple[str, str], TableMapping] = {}
        self._answers: dict[tuple[int, ...], Answered] = {}

    def total(self, layout: Layout) -> float:
        """Dollars a month, of everything."""
        dollars = self.of(layout, layout)
        assert dollars is not None  # a layout that cannot be is never chosen
        return dollars

    def of(self, layout: Layout, names: Iterable[str]) -> float | None:
        """Dollars a month of the tables ``names`` and of all statements about them; None if the layout cannot be."""
        self.steps += 1
        children = _children(layout)
        known: dict[str, int] = {}
        dollars = 0.0
        for root in dict.fromkeys(root_of(name, layout) for name in names):
            known[root] = self._number(_key(layout, root, children))
            if self._families[known[root]] is None:
                return None
            dollars += self._storage[known[root]]
        seen = set[int]()
        for name in names:
            for asking in self.about[name]:
                if asking.number not in seen:
                    seen.add(asking.number)
                    found = self._answer(asking, layout, children, known)
                    if found is None:
                        return None
                    dollars += self.dollars(asking, found)
        return dollars

    def dollars(self, asking: Asking, found: Answered) -> float:
        return found.weight * asking.per_second * self.write

    def answer(self, asking: Asking, layout: Layout) -> Answered | None:
        return self._answer(asking, layout, _children(layout), {})

    def _answer(
        self, asking: Asking, layout: Layout, children: Mapping[str, list[str]], known: dict[str, int]
    ) -> Answered | None:
        """``known`` are numbers of families of this layout, by their roots."""
        numbers = []
        for name in asking.tables:
            root = layout[name].placement.parent or name
            if root not in known:
                known[root] = self._number(_key(layout, root, children))
            numbers.append(known[root])
        key = (asking.number, *numbers)
        if key not in self._answers:
            self.steps += 1
            rules: dict[str, list[Weighed]] = {}
            for name, number in zip(asking.tables, numbers, strict=True):
                family = self._families[number]
                if family is None:
                    return None
                rules[name] = family[name]
            self._answers[key] = answered(asking.statement, rules)
        return self._answers[key]

    def family_number(self, layout: Layout, root: str) -> int:
        """One for each way that a target can be: its tables, each with its place."""
        return self._number(_key(layout, root, _children(layout)))

    def _number(self, key: FamilyKey) -> int:
        if key not in self._numbers:
            self.steps += 1
            self._numbers[key] = len(self._families)
            made = self._made(key)
            self._families.append(made)
            family = [each for several in (made or {}).values() for each in several]
            self._storage.append(storage_bytes(family, ITEM_OVERHEAD) / GB * self.storage)
        return self._numbers[key]

    def _made(self, key: FamilyKey) -> dict[str, list[Weighed]] | None:
        if any(each in self.refused for each in key):
            return None
        layout = dict(key)
        try:
            rules = rules_of(key[0][0], layout, self._tables, self.names)
            found = self.weigh(rules)
        except (ValueError, MappingError):
            return None
        parts = [name for name, each in key if each.placement.kind == PART]
        if any(found[name][0].largest > LARGEST_ITEM for name in parts):
            return None
        return found

    def weigh(self, rules: Sequence[TableRule]) -> dict[str, list[Weighed]]:
        """The mappings of one target's ``rules``. Raises MappingError."""
        mappings = [self._compiled(rule) for rule in rules]
        if faults := family_faults(mappings):
            raise MappingError(faults[0])
        for mapping in mappings:
            if not mapping.rule.assert_unique and (doubts := mapping.doubts()):
                raise MappingError(doubts[0])
        found: dict[str, list[Weighed]] = {}
        for each in weighed([(mapping, self.known[mapping.table.full_name]) for mapping in mappings]):
            found.setdefault(each.mapping.table.full_name, []).append(each)
        return found

    def _compiled(self, rule: TableRule) -> TableMapping:
        key = (rule.name, repr(rule))
        if key not in self._mappings:
            self._mappings[key] = compile_mapping(rule, self._tables[rule.source])
        return self._mappings[key]


def cost_of_rules(scale: Scale, rules: Sequence[TableRule]) -> float:
    """Dollars a month of a design that somebody wrote, by the same reckoning. Raises MappingError."""
    by_target: dict[str, list[TableRule]] = {}
    for rule in rules:
        by_target.setdefault(rule.target, []).append(rule)
    found: dict[str, list[Weighed]] = {}
    dollars = 0.0
    for several in by_target.values():
        family = scale.weigh(several)
        dollars += storage_bytes([each for one in family.values() for each in one], ITEM_OVERHEAD) / GB * scale.storage
        for name, each in family.items():
            found.setdefault(name, []).extend(each)
    return dollars + sum(scale.dollars(each, answered(each.statement, found)) for each in scale.askings)


def _children(layout: Layout) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, each in layout.items():
        if each.placement.parent:
            found.setdefault(each.placement.parent, []).append(name)
    return found


def _key(layout: Layout, root: str, children: Mapping[str, list[str]]) -> FamilyKey:
    return ((root, layout[root]), *((name, layout[name]) for name in sorted(children.get(root, ()))))
