"""Whether two rows could come to the same place in the target, and which rows must be refused so that they cannot.

A record's place is its item; a group's row has an item, which must be its group's alone, and an entry within it. What
tells rows apart is the primary key, or any unique key without NULLs: the templates of the place must give it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from whimbrel.mapping.attributes import Design
from whimbrel.mapping.templates import Separator, Template

# Of the character sets in which the servers tell two codes apart that are one character in Unicode.
HAVE_TWO_CODES = frozenset({"armscii8", "cp932", "eucjpms", "sjis", "ujis"})


def separators(design: Design, template: Template) -> tuple[Separator, ...]:
    """What the columns of ``template`` must keep clear of; nothing where the place is certain all the same."""
    return () if _told_apart_without(design, template) else template.separators(design.columns)


def doubts(design: Design, computed: Collection[str], unique_keys: Iterable[tuple[str, ...]]) -> list[str]:
    """How different rows could come to the same place, although each keeps clear of its separators; empty if not.

    ``computed`` are the columns that are not as the source has them; ``unique_keys`` are those of the source.
    """
    found = [
        doubt
        for template in _templates(design)
        if not _told_apart_without(design, template) and (doubt := template.ambiguity(design.columns))
    ]
    used = {name for template in _templates(design) for name in template.told(design.columns)}
    ordering = {one.column.name for one in design.ordering} if design.order else set()
    used = (used | ordering) - set(computed)
    found += [
        f"{name} is text in {charset}, where two codes may be one character: different rows could be one"
        for name in sorted(used)
        if (charset := design.table.column(name).charset) in HAVE_TWO_CODES
    ]
    keys = [design.table.primary_key, *unique_keys]
    if not any(used.issuperset(key) for key in keys):
        missing = [name for name in design.table.primary_key if name not in used]
        where = "the key" if design.shape != "group" else "the key and entry_name"
        found.append(f"{', '.join(missing)} of the primary key is not in {where}: different rows could be one")
    return found


def _templates(design: Design) -> list[Template]:
    return [*(key.template for key in design.keys), design.entry_name]


def _told_apart_without(design: Design, template: Template) -> bool:
    """Whether the primary key can be read from the rest of the place, and from what is certain of ``template``."""
    columns = design.columns
    if design.shape != "group":
        certain = {name for each in _templates(design) for name in each.certain(columns)}
    elif template is design.entry_name:
        certain = {*design.told, *template.certain(columns)}
    else:
        return False  # the item must be one group's, whatever its entries are called
    certain = {name for name in certain if columns[name].kind != "computed"}
    return certain.issuperset(design.table.primary_key)
