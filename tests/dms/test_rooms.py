"""The rooms of dms one by one: wildcards, conditions, the JSON text, templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.dms import templates
from whimbrel.dms.patterns import is_literal, literal, matches, pattern_fault
from whimbrel.dms.read import load_rules, read_rules
from whimbrel.dms.text import parse
from whimbrel.errors import ProjectError
from whimbrel.mapping.conditions import NotACondition, on_absent_item, on_item, unused
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal
from whimbrel.mapping.templates import parse as parse_template


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("%", ["", "a", "a\nb"], []),
        ("a%", ["a", "ab", "a%"], ["A", "ba"]),
        ("a_c", ["abc", "a_c", "a%c"], ["ac", "abbc"]),
        ("a[_]c", ["a_c"], ["abc"]),
        ("[ab]x", ["ax", "bx"], ["cx", "abx", "[ab]x"]),
        ("[a-d]x", ["ax", "dx"], ["ex", "-x"]),
        ("[a-]x", ["ax", "-x"], ["bx"]),
        ("[%]", ["%"], ["a"]),
        ("a.b*", ["a.b*"], ["axb", "a.bb"]),
        ("[a-cx-z]", ["a", "y"], ["d", "-"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("a]", ["a]"], ["a"]),
    ],
)
def test_wildcards(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    assert not pattern_fault(pattern)
    assert [name for name in meant + not_meant if matches(pattern, name)] == meant


@pytest.mark.parametrize("pattern", ["[", "a[b", "[]", "[z-a]", "a[]b"])
def test_patterns_that_mean_nothing(pattern: str) -> None:
    assert pattern_fault(pattern)


@given(st.text(max_size=20))
def test_a_name_with_its_wildcards_in_brackets_means_itself_only(name: str) -> None:
    quoted = "".join(f"[{one}]" if one in "%_[" else one for one in name)
    assert not pattern_fault(quoted)
    assert is_literal(quoted)
    assert literal(quoted) == name
    assert matches(quoted, name)
    assert not matches(quoted, f"{name}x")


@given(st.text("ab%_[]-^\\.", max_size=8), st.text("ab%_[]-^\\.", max_size=8))
def test_every_pattern_can_be_matched(pattern: str, name: str) -> None:
    if not pattern_fault(pattern):
        assert matches(pattern, name) in (True, False)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("attribute_not_exists(a)", True),
        ("attribute_exists(a)", False),
        ("NOT attribute_exists(a.b[3].#c)", True),
        ("attribute_not_exists(a) AND attribute_not_exists(b)", True),
        ("attribute_not_exists(a) AND a = :v", False),
        ("attribute_not_exists(a) OR a < :v", True),
        ("a = :v OR NOT (b IN (:v, :w) OR size(c) >= :n)", True),
        ("a BETWEEN :v AND :w AND attribute_not_exists(b)", False),
        ("begins_with(a, :v) or contains(#b, :w)", False),
        ("not attribute_type(a, :t)", True),
        ("a <> :v", True),
        ("NOT :v <> a", False),
        ("a <> b", None),
        ("a = b", None),
        ("a = :v AND b = c", False),
        ("attribute_not_exists(a) OR attribute_not_exists(b) AND a = :v", True),
    ],
)
def test_a_condition_on_an_absent_item(expression: str, holds: bool | None) -> None:
    assert on_absent_item(expression).holds is holds


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("attribute_not_exists(owner)", True),
        ("attribute_not_exists(name)", None),
        ("attribute_not_exists(pk)", False),
        ("attribute_exists(#k)", True),
        ("attribute_exists(pk.inside)", None),
        ("owner <> :us", True),
        ("owner = :us OR attribute_not_exists(owner)", True),
        ("attribute_not_exists(name) OR name <= :v", None),
        ("attribute_not_exists(owner.id) AND NOT contains(owner, :x)", True),
        ("size(name) < :n", None),
        ("pk = :v", None),
        ("attribute_not_exists(owner) OR name = :v", True),
    ],
)
def test_a_condition_on_an_item_with_a_key_and_perhaps_a_name(expression: str, holds: bool | None) -> None:
    has = {"pk": True, "name": None}
    assert on_item(expression, {"#k": "pk"}, lambda name: has.get(name, False)).holds is holds


@pytest.mark.parametrize(
    "expression",
    ["", "a", "a =", "= :v", "a = :v)", "(a = :v", "attribute_exists()", "contains(a)", ":v = :w", "a ; b", "a IN ()",
     "NOT", "a BETWEEN :v", "(" * 500 + "a = :v" + ")" * 500, "a = :v AND", "size(a)"],
)  # fmt: skip
def test_what_is_no_condition(expression: str) -> None:
    with pytest.raises(NotACondition):
        on_absent_item(expression)


@given(st.text("ab=<>(),.[]0:#NOTANDORINsize ", max_size=30))
def test_any_text_is_a_condition_or_is_not(expression: str) -> None:
    try:
        assert on_absent_item(expression).holds in (True, False, None)
    except NotACondition as reason:
        assert str(reason)  # noqa: PT017


def test_placeholders_are_all_defined_and_all_used() -> None:
    used = on_absent_item("#a = :v AND attribute_exists(b.#c)").used
    assert unused(used, ["#a", ":v", "#c"]) == []
    assert unused(used, ["#a", ":w", "#c"]) == ["uses :v, which is not defined", "does not use :w, which is defined"]


def test_slips_of_commas_are_all_named_with_their_rules() -> None:
    text = '{"rules": [{"rule-id": "7", "a": 1,}, {"rule-id": "8" "b": [1, 2,]},]}'
    document, faults = parse(text, [])
    assert document == {"rules": [{"rule-id": "7", "a": 1}, {"rule-id": "8", "b": [1, 2]}]}
    assert faults == [
        "rule 7: line 1, column 35: a comma too many",
        "rule 8: line 1, column 55: a comma is missing here",
        "rule 8: line 1, column 66: a comma too many",
        "rule 8: line 1, column 69: a comma too many",
    ]


@pytest.mark.parametrize("text", ["", "{", '{"rules": [NaN]}', "[" * 5_000, '{"rules": [' + "1" * 5_000 + "]}", "nil"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ProjectError) as raised:
        read_rules(text)
    assert raised.value.message.strip()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"rules": []}')
    assert load_rules(path).faults == ("there is no selection rule, and DMS moves nothing without one",)


@pytest.mark.parametrize("content", [None, b"\xff\xfe{}"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectError) as raised:
        load_rules(path)
    assert raised.value.place == str(path)


@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from(["${a}", "${b c}", "$", "$$", "{", "}"])), max_size=8))
def test_a_template_means_the_same_as_ours(parts: list[str]) -> None:
    """Read by our own rules, the translation is the text around the columns, in which every dollar is a dollar."""
    text = "".join(parts)
    if templates.faults(text):
        return
    meant: list[Literal | Reference] = []
    for number, part in enumerate(templates._REFERENCE.split(text)):
        if part or number % 2:
            meant.append(Reference(part) if number % 2 else Literal(part))
    assert list(parse_template(templates.translated(text, lambda name: name)).parts) == meant
