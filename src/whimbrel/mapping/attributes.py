"""What the attributes of an item are made from: keys, columns that are carried, and those added by templates."""

from __future__ import annotations

from typing import NamedTuple

from whimbrel.mapping.templates import Template
from whimbrel.mapping.trees import Tree, templates_of
from whimbrel.records import Column


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


class Carried(NamedTuple):
    """A column that becomes an attribute (or an entry of a row's map): ``type`` is one of TYPES."""

    column: Column
    attribute: str
    type: str
