"""A layout in words: where each table is and why, and how each statement is served."""

from __future__ import annotations

from collections.abc import Mapping

from whimbrel.proposal.answered import Answered
from whimbrel.proposal.options import plain
from whimbrel.proposal.placement import BY, MEMBER, OWN, PART, IndexChoice, Layout, Names, Placed, root_of
from whimbrel.proposal.result import DesignedStatement, DesignedTable
from whimbrel.proposal.scale import Asking, Scale
from whimbrel.proposal.search import Found

SHOWN = 100  # characters of a statement
REASONS, ALTERNATIVES = 3, 6


def designed_statements(scale: Scale, found: Found) -> list[DesignedStatement]:
    """The dearest of one table for each table first."""
    told = []
    for asking in scale.askings:
        best, before = _answer(scale, asking, found.best), _answer(scale, asking, found.indexed)
        told.append(
            DesignedStatement(
                asking.statement.text,
                asking.per_second,
                best.how,
                round(best.reads, 3),
                round(best.writes, 3),
                scale.dollars(asking, best),
                before.how,
                scale.dollars(asking, before),
                best.notes,
            )
        )
    return sorted(told, key=lambda each: (-each.plain_dollars, each.statement))


def designed_tables(scale: Scale, found: Found, names: Names) -> list[DesignedTable]:
    return [
        DesignedTable(
            name,
            names.targets[root_of(name, found.best)],
            place(name, found.best[name], scale),
            tuple(map(index_words, found.best[name].indexes)),
            tuple(_why(scale, found, name)),
            tuple(_alternatives(scale, found, name)),
            tuple(dict.fromkeys(scale.known[name].assumed)),
        )
        for name in sorted(scale.known)
    ]


def place(name: str, placed: Placed, scale: Scale) -> str:
    kind, partition, sort, parent, buckets = placed.placement
    key = ", ".join(partition)
    if kind == MEMBER:
        return f"an item a row, in the collection of its {_table(parent)} ({key}){_sorted(sort)}"
    if kind == PART:
        return f"an entry a row, in the item of its {_table(parent)} ({key})"
    if kind == BY:
        spread = f", spread over {buckets} buckets" if buckets else ""
        return f"an item a row, in a table of its own by ({key}){_sorted(sort)}{spread}"
    return f"an item a row, by its primary key ({', '.join(scale.known[name].table.primary_key)})"


def index_words(index: IndexChoice) -> str:
    more = f", sorted by {index.sort}" if index.sort else ""
    spread = f", spread over {index.buckets} buckets" if index.buckets else ""
    kept = "" if index.projection == "all" else f", with {', '.join(index.projection) or 'its keys'} alone"
    return f"index by ({', '.join(index.partition)}){more}{spread}{kept}"


def _sorted(sort: tuple[str, ...]) -> str:
    return f", sorted by {', '.join(sort)}" if sort else ""


def _table(name: str) -> str:
    return name.partition(".")[2]


def _answer(scale: Scale, asking: Asking, layout: Layout) -> Answered:
    found = scale.answer(asking, layout)
    assert found is not None  # both layouts can be
    return found


def _why(scale: Scale, found: Found, name: str) -> list[str]:
    """The statements that cost most less than if the table were by itself."""
    alone = _alone(scale, found.best, name)
    if not scale.about[name]:
        return ["no statement is about it"]
    if alone == found.best:
        return ["no other place is cheaper"] if scale.about[name] else []
    told = []
    for asking in scale.about[name]:
        here, there = _answer(scale, asking, found.best), scale.answer(asking, alone)
        saved = scale.dollars(asking, there) - scale.dollars(asking, here) if there else 0.0
        if there and saved > 0:
            text = f"saves ${saved:,.2f}: {_short(asking.statement.text)}: {here.how} instead of {there.how}"
            told.append((saved, text))
    with_it = [_table(child) for child, each in found.best.items() if each.placement.parent == name]
    reasons = [text for _, text in sorted(told, key=lambda each: (-each[0], each[1]))[:REASONS]]
    return [*reasons, *([f"{', '.join(with_it)} can be with it"] if with_it else [])] or ["it takes less storage"]


def _alone(scale: Scale, layout: Mapping[str, Placed], name: str) -> dict[str, Placed]:
    """The same with ``name`` by itself, without indexes."""
    own = plain(scale.known[name], scale.about[name])
    changed = {name: Placed(own)}
    if own.kind != OWN:
        orphans = [child for child, each in layout.items() if each.placement.parent == name]
        changed |= {child: Placed(plain(scale.known[child], scale.about[child])) for child in orphans}
    return {**layout, **changed}


def _alternatives(scale: Scale, found: Found, name: str) -> list[tuple[str, float]]:
    tried = sorted(found.weighed.get(name, []), key=lambda each: (each[1], each[0]))
    told: dict[str, float] = {}
    for placed, dollars in tried:
        more = "".join(f"; {index_words(index)}" for index in placed.indexes)
        told.setdefault(f"{place(name, placed, scale)}{more}", dollars)
    return list(told.items())[:ALTERNATIVES]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
