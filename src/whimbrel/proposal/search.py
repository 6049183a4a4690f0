"""The search for the cheapest layout: from one table for each table, by one change after another, as long as one helps.

Nothing in it is random: the same tables, statements and figures give the same layout.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from whimbrel.proposal.known import Link
from whimbrel.proposal.options import indexes, links_of, placements, plain
from whimbrel.proposal.placement import MEMBER, OWN, PART, IndexChoice, Placed, Placement, root_of
from whimbrel.proposal.scale import Scale

ROUNDS = 6
# Of Scale.steps: from the first start; half as many from each of the others, and for what is weighed besides. Where a
# schema is too large for these, the tables of few statements stay where they are. They are counted: seconds would give
# another design each time.
MOST_STEPS = 80_000
MOST_OF_A_TABLE = 5  # indexes
WORTH = 0.01  # of what a table costs: a change that saves less is not made


@dataclass
class Found:
    """``plain`` is one table for each table, ``indexed`` the same with the indexes that its statements want.

    ``weighed`` has for each table the other places that were tried for it, with what everything would cost then.
    """

    plain: dict[str, Placed]
    indexed: dict[str, Placed]
    best: dict[str, Placed]
    weighed: dict[str, list[tuple[Placed, float]]] = field(default_factory=dict)


class Search:
    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.links: dict[str, list[Link]] = links_of(scale.known, list(scale.askings))
        self._options = {
            name: list(dict.fromkeys(placements(known, self.links[name], scale.about[name])))
            for name, known in scale.known.items()
        }
        self._indexes = {name: indexes(known, scale.about[name]) for name, known in scale.known.items()}
        self._chosen: dict[tuple[str, int], tuple[IndexChoice, ...]] = {}
        self._until = 0
        self._heaviest = sorted(scale.known, key=lambda name: (-len(scale.about[name]), name))

    def run(self) -> Found:
        base = {name: Placed(plain(known, self.scale.about[name])) for name, known in self.scale.known.items()}
        indexed = dict(base)
        for name in base:
            indexed = self._with_indexes(indexed, name)
        ends = [self._descend(indexed, MOST_STEPS)]
        ends += [self._descend(self._together(indexed, kind), MOST_STEPS // 2) for kind in (MEMBER, PART)]
        best = min(ends, key=self.scale.total)  # the first of equal ones
        found = Found(base, indexed, self._narrowed(best))
        total = self.scale.total(found.best)
        self._until = self.scale.steps + MOST_STEPS // 2
        for name in sorted(self.scale.known):
            found.weighed[name] = self._weighed(found.best, name, total)
        return found

    @property
    def _spent(self) -> bool:
        return self.scale.steps >= self._until

    def _descend(self, layout: dict[str, Placed], most: int) -> dict[str, Placed]:
        self._until = self.scale.steps + most
        for _ in range(ROUNDS):
            before = layout
            for name in self._heaviest:
                layout = self._improved(layout, name)
            for name in self._heaviest:
                if self._spent:
                    return layout
                for kind in (MEMBER, PART):
                    moved = self._all_under(layout, name, kind)
                    layout = self._cheaper(layout, moved) if moved else layout
            if layout == before:
                break
        return layout

    def _improved(self, layout: dict[str, Placed], name: str) -> dict[str, Placed]:
        """With the place of ``name`` that saves most."""
        if self._spent or not self.scale.about[name]:
            return layout
        tried = [moved for option in self._options[name] if (moved := self._moved(layout, name, option))]
        best = layout
        for moved in tried:
            best = self._cheaper(best, moved)
        return best

    def _cheaper(self, layout: dict[str, Placed], moved: dict[str, Placed]) -> dict[str, Placed]:
        tables = self._touched(layout, moved)
        now, then = self.scale.of(layout, tables), self.scale.of(moved, tables)
        if then is None or (now is not None and then >= now * (1 - WORTH)):
            return layout
        return moved

    def _touched(self, layout: dict[str, Placed], moved: dict[str, Placed]) -> list[str]:
        """All tables of the targets that differ."""
        changed = {name for name in layout if layout[name] != moved[name]}
        roots = {root_of(name, each) for name in changed for each in (layout, moved)} | changed
        return sorted(name for name in layout if {root_of(name, layout), root_of(name, moved), name} & roots)

    def _moved(self, layout: dict[str, Placed], name: str, option: Placement) -> dict[str, Placed] | None:
        """``name`` at another place, and its parent where a parent must be; None if that cannot be."""
        if layout[name].placement == option:
            return None
        moved, touched = dict(layout), [name]
        moved[name] = Placed(option)
        if option.kind != OWN:
            for child, each in layout.items():
                if each.placement.parent == name:
                    moved[child] = Placed(plain(self.scale.known[child], self.scale.about[child]))
                    touched.append(child)
        if option.parent and moved[option.parent].placement.kind != OWN:
            if plain(self.scale.known[option.parent], self.scale.about[option.parent]).kind != OWN:
                return None
            moved[option.parent] = Placed()
            touched.append(option.parent)
        elif option.parent or layout[name].placement.parent:
            touched += [option.parent or layout[name].placement.parent]
        for changed in touched:
            moved = self._with_indexes(moved, changed)
        return moved

    def _with_indexes(self, layout: dict[str, Placed], name: str) -> dict[str, Placed]:
        """With the indexes of ``name`` that save more than they cost, the most saving first."""
        layout = {**layout, name: Placed(layout[name].placement)}
        if layout[name].placement.kind == PART or not self.scale.about[name]:
            return layout
        key = (name, self.scale.family_number(layout, root_of(name, layout)))
        if key not in self._chosen:  # what other targets are like is left out of it: it decides little, and takes long
            self._chosen[key] = self._best_indexes(layout, name)
        return {**layout, name: layout[name]._replace(indexes=self._chosen[key])}

    def _best_indexes(self, layout: dict[str, Placed], name: str) -> tuple[IndexChoice, ...]:
        left = list(self._indexes[name])
        while left and len(layout[name].indexes) < MOST_OF_A_TABLE:
            now = self.scale.of(layout, [name])
            tried = [
                (self.scale.of(moved := _plus(layout, name, each), [name]), place, moved)
                for place, each in enumerate(left)
            ]
            possible = [(dollars, place, moved) for dollars, place, moved in tried if dollars is not None]
            if not possible:
                break
            dollars, place, moved = min(possible, key=lambda each: each[:2])
            if now is not None and dollars >= now * (1 - WORTH):
                break
            layout = moved
            del left[place]
        return layout[name].indexes

    def _together(self, layout: dict[str, Placed], kind: str) -> dict[str, Placed]:
        """Each table under its first parent, wherever that can be."""
        for name in self._heaviest:
            for option in self._options[name]:
                if option.kind == kind and not layout[option.parent].placement.parent:
                    moved = self._moved(layout, name, option)
                    if moved and self.scale.of(moved, self._touched(layout, moved)) is not None:
                        layout = moved
                        break
        return layout

    def _all_under(self, layout: dict[str, Placed], parent: str, kind: str) -> dict[str, Placed] | None:
        """All tables that can be under ``parent``, there at once."""
        moved: dict[str, Placed] | None = None
        for name in self._heaviest:
            for option in self._options[name]:
                if option.kind == kind and option.parent == parent:
                    further = self._moved(moved or layout, name, option)
                    if further and self.scale.of(further, [name]) is not None:
                        moved = further
                        break
        return moved

    def _narrowed(self, layout: dict[str, Placed]) -> dict[str, Placed]:
        """With as few columns in each index as its statements read, where that is cheaper."""
        for name in sorted(layout):
            for place, index in enumerate(layout[name].indexes):
                columns = self._read_by(layout, name, index)
                if columns is not None:
                    choices = list(layout[name].indexes)
                    choices[place] = index._replace(projection=columns)
                    moved = {**layout, name: layout[name]._replace(indexes=tuple(choices))}
                    layout = self._cheaper(layout, moved)
        return layout

    def _read_by(self, layout: dict[str, Placed], name: str, index: IndexChoice) -> tuple[str, ...] | None:
        """The columns beside its keys that statements read by an index; None for all, or too many."""
        wanted: set[str] = set()
        table = self.scale.known[name].table
        for asking in self.scale.about[name]:
            answer = self.scale.answer(asking, layout)
            if answer is None or not answer.how.startswith("Query on an index"):
                continue
            statement = asking.statement
            if not statement.columns and not statement.counts_only:
                return None
            for asked in statement.tables:
                if asked.table.full_name == name:
                    wanted |= {*statement.columns, *asked.filters, *asked.equal, *asked.ranges, *asked.among}
        wanted &= set(table.names)
        wanted -= {*index.partition, index.sort, *table.primary_key}
        return tuple(sorted(wanted)) if len(wanted) <= 10 else None

    def _weighed(self, layout: dict[str, Placed], name: str, total: float) -> list[tuple[Placed, float]]:
        found: list[tuple[Placed, float]] = []
        for option in self._options[name] if not self._spent else ():
            moved = self._moved(layout, name, option)
            if moved:
                tables = self._touched(layout, moved)
                now, then = self.scale.of(layout, tables), self.scale.of(moved, tables)
                if now is not None and then is not None:
                    found.append((moved[name], total + then - now))
        return found


def _plus(layout: dict[str, Placed], name: str, index: IndexChoice) -> dict[str, Placed]:
    placed = layout[name]
    return {**layout, name: placed._replace(indexes=(*placed.indexes, index))}


def roots(layout: dict[str, Placed]) -> Iterable[str]:
    return (name for name in sorted(layout) if not layout[name].placement.parent)
