"""Attributes made from templates: a text, or DynamoDB's typed tree with templates at its leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from whimbrel.mapping.templates import Template


class Leaf(NamedTuple):
    """``type`` is S, N or BOOL, or M or L for the object or the array of a JSON column. With an ``offset`` it is the
    time of a column, in whole seconds since 1970, and so many more.
    """

    type: str
    template: Template
    offset: int | None = None


class Branch(NamedTuple):
    """``type`` is M or L; the children of an L have their numbers for names."""

    type: str
    children: tuple[tuple[str, Tree], ...]


Tree = Leaf | Branch


def parse_tree(tree: Any, template: Callable[[str, str], Template], place: str) -> Tree:
    """``tree`` is a text or a typed tree of the right form; ``template`` parses one and notes what is wrong with it."""
    if isinstance(tree, str):
        return Leaf("S", template(place, tree))
    [(kind, content)] = tree.items()
    if isinstance(content, str):
        return Leaf(kind, template(place, content))
    if kind == "M":
        return Branch(
            "M", tuple((name, parse_tree(each, template, f"{place}.{name}")) for name, each in content.items())
        )
    return Branch("L", tuple((str(n), parse_tree(each, template, f"{place}[{n}]")) for n, each in enumerate(content)))


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    if isinstance(tree, Leaf):
        yield tree
        return
    for _, child in tree.children:
        yield from leaves_of(child)


def templates_of(tree: Tree) -> Iterator[Template]:
    return (leaf.template for leaf in leaves_of(tree))
