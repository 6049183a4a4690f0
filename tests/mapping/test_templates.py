"""Templates: their syntax, when two rows could give the same text, and the way back from a text to the rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.oracle_texts import rendered
from tests.mapping.tables import SEPARATORS, TEXT_KINDS, VALUES, column
from whimbrel.errors import MappingError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal, Separator, parse
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Row, Table, Value


def test_a_template_is_read_into_its_parts() -> None:
    assert parse("${a}|$$${b c}").parts == (Reference("a"), Literal("|$"), Reference("b c"))
    assert parse("$$").parts == (Literal("$"),)
    assert parse("$${a}").parts == (Literal("${a}"),)
    assert parse("").parts == ()
    assert parse("${$a}$$${a$b}${$}${a$$}").columns == ("$a", "a$b", "$", "a$$")
    assert parse("${a}${b}${a}").columns == ("a", "b")
    assert (parse("${a}").alone, parse("${a}x").alone, parse("x").alone) == ("a", "", "")


@pytest.mark.parametrize(
    ("text", "at"), [("$", 1), ("a$b", 2), ("${", 1), ("${}", 1), ("${a", 1), ("${a}$", 5), ("${a{b}", 1)]
)
def test_a_dollar_that_starts_nothing_is_refused(text: str, at: int) -> None:
    with pytest.raises(MappingError, match=f"a '\\$' at character {at} of"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "kinds", "doubt", "separators"),
    [
        ("${a}", ["text"], "", []),
        ("${a}|${b}", ["int", "text"], "", []),
        ("${a}|${b}", ["text", "int"], "", []),
        ("${a}|${b}", ["text", "text"], "", ["a|"]),
        ("${a}${b}", ["int", "int"], "nothing stands between a and b", []),
        ("${a}${b}", ["date", "int"], "", []),
        ("${a}${b}", ["text", "date"], "", []),
        ("${a}-${b}", ["int", "int"], "", []),
        ("${a}-${b}", ["date", "date"], "", []),
        ("${a}-${b}", ["float", "float"], "", ["-b"]),
        ("${a}|${b}|${c}", ["int", "text", "int"], "", []),
        ("${a}|${b}|${c}", ["text", "int", "text"], "", ["a|"]),
        ("${a}#${b}", ["enum", "enum"], "", []),
        ("${a},${b}", ["set", "text"], "", ["a,"]),
        ("${a}x${b}", ["set", "enum"], "", []),
        ("${a}:${b}", ["time", "int"], "", []),
        ("${a}|${b}|${c}", ["text", "text", "int"], "", ["a|"]),
        ("${a}-${b}", ["text", "int"], "", ["-b"]),
        ("${a}#${b}-${c}", ["text", "text", "int"], "", ["-c", "a#"]),
        ("${a}|${b}||${c}", ["text", "text", "text"], "", ["a|", "b||"]),
        ("${a}|${b}${c}", ["text", "text", "text"], "nothing stands between b and c", ["a|"]),
        ("x${a}y", ["text"], "", []),
        ("${a}|", ["text"], "", []),
        ("${a}.${b}", ["decimal", "decimal"], "", [".b"]),
        ("${a}${b}${c}", ["uuid", "text", "timestamp"], "", []),
    ],
)
def test_a_doubt_is_named(text: str, kinds: list[str], doubt: str, separators: list[str]) -> None:
    columns = {name: column(name, kind, False) for name, kind in zip("abc", kinds, strict=False)}
    said = parse(text).ambiguity(columns)
    assert (said is None) if not doubt else (said is not None and doubt in said)
    assert [
        f"{part.column}{literal}" if behind else f"{literal}{part.column}"
        for part, literal, behind in parse(text).separators(columns)
    ] == separators


@st.composite
def templates_over(draw: st.DrawFn) -> tuple[str, Table]:
    kinds = draw(st.lists(st.sampled_from(TEXT_KINDS), min_size=1, max_size=3))
    columns = tuple(column(f"c{i}", kind, False) for i, kind in enumerate(kinds))
    text = draw(st.sampled_from(["", "p-", "|"]))
    for one in columns:
        text += "${" + one.name + "}" + draw(st.sampled_from([*SEPARATORS, ":", ".", ",", "T", "0"]))
    return text, Table("s", "t", columns, ("c0",))


def all_rows(table: Table) -> list[tuple[Value, ...]]:
    """The date and time columns of a table all have the fractional digits that the column says: here none. A zero with
    a sign is refused in any key.
    """
    values = {kind: [v for v in VALUES[kind] if "." not in str(v) or "date" not in kind] for kind in VALUES}
    return list(product(*([v for v in values[one.kind] if repr(v) != "-0.0"] for one in table.columns)))


@settings(max_examples=150, deadline=None)
@given(templates_over())
def test_no_two_rows_share_a_text_of_which_there_is_no_doubt(template: tuple[str, Table]) -> None:
    """Those that run into a separator are refused, and nothing else is."""
    text, table = template
    table = replace(table, primary_key=table.names)
    mapping = compile_mapping(TableRule("t", "ttt", "record", KeyRule("p", text)), table)
    separators = parse(text).separators(mapping.design.columns)
    kept = [row for row in all_rows(table) if mapping.item_key(row) is not None]
    clear = [row for row in all_rows(table) if not any(runs_into(each, table, row) for each in separators)]
    assert kept == [row for row in clear if rendered(text, table, row)]
    if not mapping.doubts():
        assert len({rendered(text, table, row) for row in kept}) == len(kept)


@settings(max_examples=50, deadline=None)
@given(templates_over())
def test_no_row_is_refused_where_the_rest_of_the_key_tells_it_apart(template: tuple[str, Table]) -> None:
    text, table = template
    rule = TableRule("t", "ttt", "record", KeyRule("p", f"p{text}"), KeyRule("s", "-${c0}"))
    mapping = compile_mapping(rule, table)
    assert mapping.doubts() == []
    assert all(mapping.item_key(row) is not None for row in all_rows(table))


def runs_into(separator: Separator, table: Table, row: tuple[Value, ...]) -> bool:
    """Read from the column's side, the separator comes too early, or once more."""
    part, literal, behind = separator
    text = rendered("${" + part.column + "}", table, row)
    return (text + literal).index(literal) < len(text) if behind else (literal + text).rindex(literal) > 0


def test_a_row_whose_text_runs_into_a_separator_is_refused_by_name() -> None:
    rule = TableRule("t", "ttt", "record", KeyRule("p", "${a}||${b}"))
    columns = (Column("a", "text", False), Column("b", "text", False))
    mapping = compile_mapping(rule, Table("shop", "t", columns, ("a", "b")))
    puts, faults = mapping.put_items([("x", "|y"), ("x|", "y"), ("x||", "y"), ("x", "y||z")])
    assert [put.key["p"]["S"] for put in puts] == ["x|||y", "x||y||z"]
    assert [fault.source_key["a"] for fault in faults] == ["x|", "x||"]
    assert faults[0].reason == (
        "partition key 'p' has '||' beside column 'a', whose own text 'x|' runs into it: another row could have the "
        "same text"
    )


def test_a_change_to_or_from_such_a_row_is_none_of_an_item_that_never_was() -> None:
    rule = TableRule("t", "ttt", "record", KeyRule("p", "${a}|${b}"))
    table = Table("shop", "t", (Column("a", "text", False), Column("b", "text", False)), ("a", "b"))
    good, bad = ("x", "y"), ("x|y", "z")

    def fold(before: Row | None, after: Row | None) -> tuple[list[str], int]:
        operations, faults = compile_mapping(rule, table).fold([Change(table, before, after, Position("bin.1", 4))])
        return [type(each).__name__ for each in operations], len(faults)

    assert fold(None, bad) == ([], 1)
    assert fold(bad, None) == ([], 0)
    assert fold(good, bad) == (["Delete"], 1)
    assert fold(bad, good) == (["Put"], 0)


@settings(max_examples=150, deadline=None)
@given(templates_over(), st.data())
def test_a_text_is_split_into_all_rows_that_give_it(template: tuple[str, Table], data: st.DataObject) -> None:
    text, table = template
    columns = {one.name: one for one in table.columns}
    rows = list(product(*(VALUES[one.kind] for one in table.columns)))
    wanted = rendered(text, table, data.draw(st.sampled_from(rows)))
    giving = {row for row in rows if rendered(text, table, row) == wanted}
    found = {tuple(split[name] for name in table.names) for split in parse(text).splits(wanted, columns)}
    assert giving <= found
    assert all(rendered(text, table, row) == wanted for row in found)


def mapping_of(kinds: str, partition: KeyRule, sort: KeyRule | None = None) -> TableMapping:
    columns = tuple(
        Column(name, kind, False, scale=2 * (kind == "decimal"))
        for name, kind in zip("abcdef", kinds.split(), strict=False)
    )
    table = Table("shop", "t", columns, tuple(one.name for one in columns))
    return compile_mapping(TableRule("t", "ttt", "record", partition, sort), table)


@pytest.mark.parametrize(
    ("kinds", "partition", "sort", "key", "rows"),
    [
        ("int int", KeyRule("p", "${a}|${b}"), None, {"p": {"S": "1|-2"}}, [(1, -2)]),
        ("int int", KeyRule("p", "${a}|${b}"), None, {"p": {"S": "01|2"}}, []),
        ("int int", KeyRule("p", "${a}|${b}"), None, {"p": {"S": "1|2 "}}, []),
        ("int int", KeyRule("p", "${a}${b}"), None, {"p": {"S": "120"}}, [(1, 20), (12, 0)]),
        ("text text", KeyRule("p", "${a}|${b}"), None, {"p": {"S": "x|y|z"}}, [("x", "y|z"), ("x|y", "z")]),
        ("text", KeyRule("p", "${a}|${a}"), None, {"p": {"S": "x|x"}}, [("x",)]),
        (
            "text text",
            KeyRule("p", "${a}"),
            KeyRule("s", "${a}${b}"),
            {"p": {"S": "x"}, "s": {"S": "xy"}},
            [("x", "y")],
        ),
        ("text text", KeyRule("p", "${a}"), KeyRule("s", "${a}${b}"), {"p": {"S": "x"}, "s": {"S": "y"}}, []),
        ("int", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1.00"}}, [(1,)]),
        ("int", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1.5"}}, []),
        ("decimal", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1.5"}}, [("1.50",)]),
        ("decimal", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1.555"}}, []),
        ("decimal", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1E+2"}}, [("100.00",)]),
        ("double", KeyRule("p", "${a}", "N"), None, {"p": {"N": "0.10"}}, [(0.1,)]),
        ("double", KeyRule("p", "${a}", "N"), None, {"p": {"N": "1E+22"}}, [(1e22,)]),
        ("double", KeyRule("p", "${a}"), None, {"p": {"S": "1e+22"}}, [(1e22,)]),
        ("double", KeyRule("p", "${a}"), None, {"p": {"S": "0.10"}}, []),
        ("binary", KeyRule("p", "${a}", "B"), None, {"p": {"B": "YQA="}}, [(b"a\x00",)]),
        ("binary", KeyRule("p", "${a}", "B"), None, {"p": {"S": "YQA="}}, []),
        ("int", KeyRule("p", "${a}"), None, {"other": {"S": "1"}}, []),
    ],
)
def test_the_rows_of_a_key(
    kinds: str, partition: KeyRule, sort: KeyRule | None, key: dict[str, dict[str, str]], rows: list[tuple[Value, ...]]
) -> None:
    assert mapping_of(kinds, partition, sort).source_keys(key) == rows


def test_too_many_rows_of_one_key_are_refused() -> None:
    mapping = mapping_of("text text text", KeyRule("p", "${a}${b}${c}"))
    assert len(mapping.source_keys({"p": {"S": "x" * 100}})) == 5151
    with pytest.raises(MappingError, match="more than 10000 different rows could give the key"):
        mapping.source_keys({"p": {"S": "x" * 200}})


def test_a_search_without_end_is_refused() -> None:
    mapping = mapping_of("text text text text int", KeyRule("p", "${a}${b}${c}${d}${e}"))
    with pytest.raises(MappingError, match="can be split into columns in too many ways"):
        mapping.source_keys({"p": {"S": "x" * 500}})
