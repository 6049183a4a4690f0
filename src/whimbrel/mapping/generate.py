"""Python source made once for each mapping: straight-line code that turns rows into items, without a lookup per column.

Everything that can be decided from the Design is decided here; each check that a row needs is one cheap expression, and
what fails it raises Refused from a slow path with the reason. Column ``i`` of a row is the variable ``c<i>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import CodeType
from typing import Any

from whimbrel.item import (
    base64,
    gathered,
    identity,
    in_order,
    item_size,
    too_large,
)
from whimbrel.mapping import formats, forms, values
from whimbrel.mapping.attributes import Design
from whimbrel.mapping.codegen import refusals
from whimbrel.mapping.codegen.group import group_functions
from whimbrel.mapping.codegen.parts import taken
from whimbrel.mapping.codegen.record import record_functions
from whimbrel.mapping.codes import coder
from whimbrel.mapping.forms import Refused
from whimbrel.nested import deep_entries, deep_name
from whimbrel.records import AttributeValue, Item, Put, Row

KeyText = str | tuple[str, str]  # what tells items apart: the partition key's text, and the sort key's if there is one


Mapped = tuple[list[Put], list[tuple[Row, str]], list[Item]]  # puts, rows refused and why, items that are too large


@dataclass(frozen=True, slots=True)
class GeneratedCode:
    """The generated functions of one mapping. Those of one row raise Refused if it cannot be mapped."""

    text: str
    put_items: Callable[[Sequence[Row]], Mapped | None]  # None if rows clash
    put_clashing_items: Callable[[Sequence[Row]], Mapped]  # the first of rows that clash has the place
    key: Callable[[Row], KeyText]
    key_item: Callable[[KeyText], Item]
    item: Callable[[Row], tuple[KeyText, Item]]  # record and document
    entry_name: Callable[[Row], str]  # group
    entry: Callable[[Row], tuple[KeyText, str, AttributeValue, Item]]  # group: key, name, value, added attributes
    indicator: Callable[[Row], AttributeValue | None]  # record and document that delete softly


_NESTED = {"deep_entries": deep_entries, "deep_name": deep_name}


def generate(design: Design) -> GeneratedCode:
    text = "\n\n".join(group_functions(design) if design.shape == "group" else record_functions(design)) + "\n"
    space: dict[str, Any] = {
        "Put": Put,
        "new": tuple.__new__,  # a NamedTuple without the cost of its own __new__
        "Refused": Refused,
        "item_size": item_size,
        "too_large": too_large,
        "refuse_null": refusals.refuse_null,
        "refuse_default": refusals.refuse_default,
        "FORMATS": [formats.text_function(part, design.columns[part.column]) for part in design.formatted],
        "CODES": [coder(one.column, one.codes) for one in design.coded],
        "refuse_negative_zero": refusals.refuse_negative_zero,
        "refuse_separator": refusals.refuse_separator,
        "check_key": refusals.check_key,
        "check_name": refusals.check_name,
        "check_deep_name": refusals.check_deep_name,
        **_NESTED,
        "refuse_clash": refusals.refuse_clash,
        "TABLE": design.target,
        "FRAME": design.frame,
        "TAKEN": taken(design),
        "ORDER": design.order,
        "GATHERED": design.gathered,
        "gathered": gathered,
        "identity": identity,
        "in_order": in_order,
        "json_tree": partial(forms.json_tree, number=values.exact_number),
        "json_document": partial(forms.json_document, number=values.exact_number),
        "computed": partial(forms.computed, number=values.exact_number),
        "computed_text": forms.computed_text,
        "computed_binary": forms.computed_binary,
        "string_set": forms.string_set,
        "calendar_text": forms.calendar_text,
        "epoch": forms.epoch,
        "epoch_ms": forms.epoch_ms,
        "expiry": forms.expiry,
        "seconds": forms.seconds,
        "truth": forms.truth,
        "present": refusals.present_members,
        "NEVER": object(),
        "SMALL_NUMBERS": values.SMALL_NUMBERS,
        "exact_number": values.exact_number,
        "checked_number": values.checked_number,
        "boolean": values.boolean,
        "base64": base64,
    }
    exec(_compiled(text), space)
    names = ("put_items", "put_clashing_items", "key", "key_item", "item", "entry_name", "entry", "indicator")
    return GeneratedCode(text, *(space.get(name, refusals.absent) for name in names))


@lru_cache(512)
def _compiled(text: str) -> CodeType:
    """Tables of one form, of which there may be hundreds, have one text."""
    return compile(text, "<mapping>", "exec")
