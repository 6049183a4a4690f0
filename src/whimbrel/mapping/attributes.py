"""A table's rule without a doubt left: what the attributes of its items are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from whimbrel.item import Order
from whimbrel.mapping.codes import Codes
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Template
from whimbrel.mapping.trees import Tree, templates_of
from whimbrel.records import Column, Gathered, Table


class Key(NamedTuple):
    """One key attribute: ``type`` is S, N or B."""

    name: str
    type: str
    template: Template


class Added(NamedTuple):
    """One more attribute, made from templates."""

    name: str
    tree: Tree

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for template in templates_of(self.tree) for name in template.columns))

    def may_be_null(self, columns: Mapping[str, Column]) -> bool:
        needed = {name for template in templates_of(self.tree) for name in template.needed}
        return any(columns[name].nullable for name in needed)


class Carried(NamedTuple):
    """A column that becomes an attribute (or an entry of a row's map): ``type`` is one of TYPES, or that of the
    ``codes`` that stand for its values.
    """

    column: Column
    attribute: str
    type: str
    codes: Codes = ()


@dataclass(frozen=True, slots=True)
class Sharing:
    """What an item that is made of several tables' rows demands of one of them.

    ``frame``: added attributes that all of them write alike; ``taken``: attributes that are the other tables'.
    ``beside``: maps that other tables have in the entries of this one's map.
    """

    frame: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Design:
    """``rule`` resolved against its table. ``table`` has the columns as the mapping sees them, see ``Columns``.

    In a group, ``carried`` is the row's map, or the one column of the entry; ``inside`` says what the entries are in:
    "" for attributes of the item, else the kind (M, SS, NS, L) of the attribute ``into``; ``gathered`` is one more that
    is made of a map's entries. With a ``path``, entries are in the map of that name in an entry of ``into``; their
    ``entry_name`` is ``nested.deep_name`` of the two names. ``document`` is the map that
    holds the carried columns, "" for attributes. ``group_columns`` are the source's columns that determine the key,
    ``key_columns`` those that its templates name. ``lookup_columns`` are those by which an item's rows are found in the
    source, and ``invertible`` says that the key tells them.
    ``provenance_columns`` have change metadata, and ``indicator`` is the one that says whether its item is deleted.
    ``sparse`` are attributes that are left out where they are NULL, whatever ``omit_nulls`` says: those that a
    secondary index is keyed by, which takes no NULL.
    """

    table: Table
    target: str
    shape: str
    keys: tuple[Key, ...]
    added: tuple[Added, ...]
    carried: tuple[Carried, ...]
    entry_name: Template
    entry_is_map: bool
    omit_nulls: bool
    group_columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    aligned: bool
    lookup_columns: tuple[str, ...]
    invertible: bool
    inside: str = ""
    into: str = ""
    order: Order = ()
    ordering: tuple[Carried, ...] = ()
    document: str = ""
    sharing: Sharing | None = None
    provenance_columns: frozenset[str] = frozenset()
    indicator: str = ""
    sparse: frozenset[str] = frozenset()
    gathered: Gathered | None = None
    path: str = ""

    @property
    def beside(self) -> frozenset[str]:
        return self.sharing.beside if self.sharing else frozenset()

    @property
    def columns(self) -> dict[str, Column]:
        return {column.name: column for column in self.table.columns}

    @property
    def told(self) -> frozenset[str]:
        """The columns that the item's key tells: others may stand in it through a lossy format."""
        return frozenset(name for key in self.keys for name in key.template.told(self.columns))

    @property
    def formatted(self) -> tuple[Reference, ...]:
        """The references with a format or a text for NULL, each once."""
        templates = [*(key.template for key in self.keys), self.entry_name]
        templates += [template for each in self.added for template in templates_of(each.tree)]
        return tuple(dict.fromkeys(part for each in templates for part in each.references if not part.plain))

    @property
    def coded(self) -> tuple[Carried, ...]:
        return tuple(one for one in (*self.carried, *self.ordering) if one.codes)

    @property
    def frame(self) -> frozenset[str]:
        """The attributes that are not entries: without others, there is no item."""
        keys = frozenset(key.name for key in self.keys)
        if self.sharing is not None:
            return keys | self.sharing.frame
        return keys | {each.name for each in self.added}

    @property
    def own(self) -> tuple[str, ...]:
        """The attributes that a row, or an item's rows together, write besides the frame; not a group's entries."""
        names = [each.name for each in self.added if each.name not in self.frame]
        if self.shape == "group":
            names += [self.into] if self.into else []
            return (*names, self.gathered.name) if self.gathered else tuple(names)
        return (*names, self.document) if self.document else (*names, *(each.attribute for each in self.carried))
