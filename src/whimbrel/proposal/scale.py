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
from whimbrel.proposal.answered import READ_PRICE, Answered, answered
from whimbrel.proposal.known import KnownTable
from whimbrel.proposal.placement import PART, Layout, Names, Placed, root_of, rules_of
from whimbrel.proposal.weighed import Weighed, storage_bytes, weighed

WRITE_MILLION, STORAGE_GB = 0.625, 0.25  # dollars where no price is known: they only weigh one against the other then
MOST_ENTRIES, LARGEST_ITEM = 100, 64 * 1024  # of an item with embedded parts, at most, as it is now

FamilyKey = tuple[tuple[str, Placed], ...]


class Asking(NamedTuple):
    """A statement, and how often a second it is asked."""

    number: int
    statement: ParsedStatement
    per_second: float

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.table.full_name for each in self.statement.tables))


class Scale:
    """Weighs layouts of the tables ``known``. Remembers what it has weighed."""

    def __init__(
        self, known: Mapping[str, KnownTable], askings: Sequence[Asking], names: Names, prices: Prices
    ) -> None:
        self.known, self.askings, self.names = known, askings, names
        self.write = (prices.write_million or WRITE_MILLION) / 1e6 * MONTH
        self.storage = prices.storage_gb or STORAGE_GB
        self.about: dict[str, list[Asking]] = {name: [] for name in known}
        for asking in askings:
            for name in asking.tables:
                self.about[name].append(asking)
        self.refused: set[tuple[str, Placed]] = set()  # what a check of the data itself would not take
        self._tables = {name: each.table for name, each in known.items()}
        self._families: dict[FamilyKey, dict[str, list[Weighed]] | None] = {}
        self._mappings: dict[tuple[str, str], TableMapping] = {}
        self._answers: dict[tuple[object, ...], Answered] = {}

    def total(self, layout: Layout) -> float:
        """Dollars a month, of everything."""
        dollars = self.of(layout, layout)
        assert dollars is not None  # a layout that cannot be is never chosen
        return dollars

    def of(self, layout: Layout, names: Iterable[str]) -> float | None:
        """Dollars a month of the tables ``names`` and of all statements about them; None if the layout cannot be."""
        keys = {root: self.family_key(layout, root) for root in {root_of(name, layout) for name in names}}
        if any(self.family(key) is None for key in keys.values()):
            return None
        dollars = sum(self.storage_of(key) for key in keys.values())
        seen = set[int]()
        for name in names:
            for asking in self.about[name]:
                if asking.number not in seen:
                    seen.add(asking.number)
                    found = self.answer(asking, layout)
                    if found is None:
                        return None
                    dollars += self.dollars(asking, found)
        return dollars

    def dollars(self, asking: Asking, found: Answered) -> float:
        return found.weight * asking.per_second * self.write

    def answer(self, asking: Asking, layout: Layout) -> Answered | None:
        keys = [self.family_key(layout, root_of(name, layout)) for name in asking.tables]
        key = (asking.number, *keys)
        if key not in self._answers:
            rules: dict[str, list[Weighed]] = {}
            for name, each in zip(asking.tables, keys, strict=True):
                family = self.family(each)
                if family is None:
                    return None
                rules[name] = family[name]
            self._answers[key] = answered(asking.statement, rules)
        return self._answers[key]

    def storage_of(self, key: FamilyKey) -> float:
        family = [each for several in (self.family(key) or {}).values() for each in several]
        return storage_bytes(family, ITEM_OVERHEAD) / GB * self.storage

    def family_key(self, layout: Layout, root: str) -> FamilyKey:
        """What decides a target: its tables, each with its place."""
        children = sorted(name for name, each in layout.items() if each.placement.parent == root)
        return ((root, layout[root]), *((name, layout[name]) for name in children))

    def family(self, key: FamilyKey) -> dict[str, list[Weighed]] | None:
        """The target's mappings by their tables; None if it cannot be as it is."""
        if key not in self._families:
            self._families[key] = self._made(key)
        return self._families[key]

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


def units_a_month(asking: Asking, found: Answered) -> tuple[float, float]:
    """Read and write units."""
    return found.reads * asking.per_second * MONTH, found.writes * asking.per_second * MONTH


def read_price(scale: Scale) -> float:
    return scale.write * READ_PRICE
