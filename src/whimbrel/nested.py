"""Maps and lists in the entries of a map. Several tables may have a part in one map: each sets and removes its own,
makes what it needs for that, and takes away what nobody has anything in any more. So the map is the same in whatever
order the parts come and go. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from whimbrel.item import Order, identity_of, in_order
from whimbrel.records import AttributeValue, Inside, Item

DEEP = "\x1f"  # between the two names of an entry that is within another's map; neither has it


def deep_name(outer: str, name: str) -> str:
    return f"{outer}{DEEP}{name}"


def deep_entries(entries: Mapping[str, AttributeValue], path: str, order: Order) -> Item:
    """Entries by their ``deep_name``, each in its place: in the map, or with an ``order`` the list, ``path`` of an
    entry.
    """
    found: dict[str, Item] = {}
    for deep, value in entries.items():
        outer, _, name = deep.partition(DEEP)
        found.setdefault(outer, {})[name] = value
    return {outer: {"M": {path: _inner(named, order)}} for outer, named in found.items()}


def own_entries(entries: Item, path: str, order: Order, beside: Iterable[str]) -> Item:
    """Of a map that several tables write, the entries of one, by their names. Raises KeyError for what is no map."""
    if path:
        return {
            deep_name(outer, name): value
            for outer, entry in entries.items()
            for name, value in _named(entry["M"].get(path), order).items()
        }
    theirs = set(beside)
    found = {name: {"M": _without(entry["M"], theirs)} if theirs else entry for name, entry in entries.items()}
    return {name: entry for name, entry in found.items() if not theirs or entry["M"]}


def with_entries(entries: Item, inside: Inside) -> Item:
    """What a map's ``entries`` are after ``inside``. Raises KeyError for what is not the map that it must be."""
    changes = [*inside.set.items(), *((name, None) for name in inside.remove)]
    after = dict(entries)
    for name, value in changes:
        outer, _, deep = name.partition(DEEP) if inside.path else (name, "", "")
        entry: Item | None = None
        if inside.path:
            entry = dict(after.get(outer, {"M": {}})["M"])
            inner = _without(_named(entry.pop(inside.path, None), inside.order), {deep})
            inner |= {} if value is None else {deep: value}
            entry |= {inside.path: _inner(inner, inside.order)} if inner else {}
        elif inside.beside:
            had = after.get(outer, {"M": {}})["M"]
            entry = {**(value["M"] if value else {}), **{each: had[each] for each in inside.beside & had.keys()}}
        if value is None and not entry:
            after.pop(outer, None)
        else:
            after[outer] = {"M": entry} if entry is not None else value or {}
    return after


def together(into: Item, part: Item) -> None:
    """Add one table's part of an item to ``into``: maps that both have become one."""
    for name, value in part.items():
        if "M" in value and "M" in into.get(name, {}):
            both = dict(into[name]["M"])
            together(both, value["M"])
            into[name] = {"M": both}
        else:
            into[name] = value


def _named(inner: AttributeValue | None, order: Order) -> Item:
    """The entries of a map or a list in an entry, by their names. Raises KeyError for what is neither."""
    if inner is None:
        return {}
    return {identity_of(element, order): element for element in inner["L"]} if order else inner["M"]


def _inner(named: Mapping[str, AttributeValue], order: Order) -> AttributeValue:
    return {"L": in_order(named.values(), order)} if order else {"M": dict(named)}


def _without(entries: Item, names: set[str]) -> Item:
    return {name: value for name, value in entries.items() if name not in names}
