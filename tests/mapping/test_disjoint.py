"""Templates whose texts can never meet, by the kinds of their columns; never said of two that do meet."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mapping.tables import SEPARATORS, TEXT_KINDS, VALUES
from whimbrel.mapping.disjoint import apart
from whimbrel.mapping.templates import parse
from whimbrel.mapping.values import values_of_text
from whimbrel.records import Column, LookedUp, Value

LOOKED_UP = LookedUp(("s", "parent"), Column("cc", "text", length=2), (), ("x",), ("s", "child"))
COLUMNS = {
    "id": Column("id", "int"),
    "n": Column("n", "int", unsigned=True),
    "code": Column("code", "text"),
    "day": Column("day", "date"),
    "at": Column("at", "timestamp"),
    "price": Column("price", "decimal", scale=2),
    "size": Column("size", "enum", members=("small", "large")),
    "made": Column("made", "computed"),
    "u": Column("u", "uuid"),
    "cc": Column("cc", "text", length=2),
    "long": Column("long", "text", length=255),
    "seen": Column("seen", "text", length=2, looked_up=LOOKED_UP),
}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("ORDER#${id}", "ORDER#${id}#ITEM#${n}", True),
        ("ORDER#${id}", "ORDER#${id}#META", True),
        ("ORDER#${code}", "ORDER#${id}#ITEM#${n}", False),
        ("ORDER#${id}", "ORDER#${code}#ITEM#${n}", True),  # whatever the code is, there is more than a number
        ("ORDER#${made}", "ORDER#${id}", False),
        ("${id}", "${n}", False),
        ("${id}-", "${n}", True),
        ("-${id}", "${n}", False),  # an ALTER may give it a sign
        ("--${id}", "${n}", True),
        ("${id}", "-${n}", False),
        ("${id}|${n}", "${n}|${id}", False),
        ("${id}-${n}", "${n}", True),
        ("${n}-${n}", "${id}", True),  # a number has a sign before it only
        ("${day}", "${at}", True),
        ("${day}", "1${day}", True),
        ("${day}", "${code}", False),
        ("${day}T", "${day}", True),
        ("${size}", "${id}", True),  # proved again when an ALTER adds a member
        ("${size}", "small", False),
        ("${size}#", "#", False),  # an invalid member is an empty text
        ("X${size}", "Y${size}", True),
        ("${u}", "${day}", True),
        ("A${code}", "B${code}", True),
        ("${code}A", "${code}B", True),
        ("A${code}B", "A${code}B${code}", False),
        ("PROFILE", "PROFILE", False),
        ("PROFILE", "ORDER#${code}", True),
        ("${price}", "${id}.${n}", False),
        ("${price}", "${id},${n}", True),
        ("LAND#${cc}", "LAND#${cc}#CITY#${id}", True),  # proved again when an ALTER makes it longer
        ("LAND#${cc:lower}", "LAND#${cc:upper}#CITY#${id}", True),
        ("LAND#${cc:-none#CITY#1}", "LAND#${cc}#CITY#${id}", False),
        ("LAND#${cc}", "LAND#${cc}#${id}", False),  # "#1" and ""
        ("LAND#${cc}", "LAND#${id}", False),
        ("LAND#${cc}", "LAND###${id}", True),
        ("LAND#${cc}", "LAND##${id}", False),
        ("LAND#${long}", "LAND#${cc}#CITY#${id}", False),
        ("LAND#${seen}", "LAND#${cc}#CITY#${id}", False),  # nobody proves it again
    ],
)
def test_by_the_kinds_of_columns(one: str, other: str, expected: bool) -> None:
    assert apart(parse(one), COLUMNS, parse(other), COLUMNS) is expected
    assert apart(parse(other), COLUMNS, parse(one), COLUMNS) is expected


KINDS = [
    kind for kind in TEXT_KINDS if kind not in ("uuid", "inet4", "inet6", "decimal")
]  # `splits` takes any text for these
TEXTS = st.sampled_from([*SEPARATORS, "", "1", "A", "#ITEM#", "-1", "0"])
PARTS = st.lists(st.tuples(TEXTS, st.sampled_from(KINDS)), min_size=1, max_size=3)


def column_of(kind: str) -> Column:
    members = {"enum": ("small", "large"), "set": ("x", "y")}.get(kind, ())
    length = max(len(str(value)) for value in VALUES["text"]) if kind == "text" else 0
    return Column(kind, kind, members=members, length=length, scale=2 if kind == "decimal" else 6)


@given(PARTS, PARTS, TEXTS, st.data())
def test_two_templates_that_give_one_text_are_never_apart(
    left: list[tuple[str, str]], right: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    """A text of the one that can be split by the other is a text of both: found by search, not by the same steps."""
    columns = {kind: column_of(kind) for kind in TEXT_KINDS}
    one, other = ("".join(f"{text}${{{kind}}}" for text, kind in parts) for parts in (left, [*right]))
    template = parse(one + end)
    text = "".join(
        f"{literal.replace('$$', '$')}{text_of(kind, data.draw(st.sampled_from(VALUES[kind])))}"
        for literal, kind in left
    ) + end.replace("$$", "$")
    if any(is_written(right, found, text) for found in parse(other).splits(text, columns)):
        assert not apart(template, columns, parse(other), columns)


def is_written(parts: list[tuple[str, str]], found: dict[str, Value], text: str) -> bool:
    """Whether columns may have the values that were found: a DATETIME(6) has six digits, a document is JSON, and a text
    no longer than its column.
    """
    if len(str(found.get("text", ""))) > column_of("text").length:
        return False
    try:
        json.loads(str(found.get("json", "null")))
    except ValueError:
        return False
    return text == "".join(f"{literal.replace('$$', '$')}{text_of(kind, found[kind])}" for literal, kind in parts)


def text_of(kind: str, value: object) -> str:
    text = repr(value) if kind in ("float", "double") else str(value)
    if kind in ("datetime", "timestamp"):
        text = text.replace(" ", "T")[:19] + ".000000"
    text = f"{text}Z" if kind == "timestamp" else text
    assert values_of_text(column_of(kind), text) or kind in ("enum", "set")
    return text
