"""What a rule says about a table that was altered: of each pair of types, whether values stay the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from whimbrel.errors import MappingError, SchemaDrift
from whimbrel.mapping.versions import Versions, same_values
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table


def column(words: str, name: str = "a") -> Column:
    """From words such as ``varchar(20) utf8mb4`` or ``int unsigned not null``."""
    kinds = {"tinyint": "int", "bigint": "int", "varchar": "text", "char": "text", "mediumtext": "text"}
    kinds |= {"varbinary": "binary", "blob": "binary"}
    kind = words.partition("(")[0].partition(" ")[0]
    numbers = words.partition("(")[2].partition(")")[0]
    more: dict[str, Any] = {}
    if kind in ("enum", "set"):
        more["members"] = tuple(numbers.split(","))
    elif kind in ("decimal", "bit"):
        more["precision"], more["scale"] = (int(n) for n in (numbers + ",0").split(",")[:2])
    elif kind in ("datetime", "time"):
        more["scale"] = int(numbers or 0)
    else:
        more["length"] = int(numbers or {"mediumtext": 2**24 - 1, "blob": 65535}.get(kind, 0))
    charset = words.rpartition(" ")[2] if kinds.get(kind) == "text" else ""
    nullable = "not null" not in words
    kind_of = kinds.get(kind, kind)
    return Column(name, kind_of, nullable, "unsigned" in words, charset=charset, type_name=words, **more)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("int", "bigint", True),
        ("int", "tinyint", False),
        ("int", "int unsigned", False),
        ("int unsigned", "bigint", True),
        ("int not null", "int", True),
        ("int", "int not null", False),
        ("decimal(10,2)", "decimal(12,2)", True),
        ("decimal(10,2)", "decimal(12,3)", False),
        ("bit(3)", "bit(9)", True),
        ("bit(9)", "bit(3)", False),
        ("varchar(20) utf8mb4", "varchar(30) utf8mb4", True),
        ("varchar(20) utf8mb4", "varchar(10) utf8mb4", False),
        ("varchar(20) latin1", "varchar(20) utf8mb4", True),
        ("varchar(20) utf8mb4", "varchar(20) latin1", False),
        ("varchar(20) utf8mb4", "char(20) utf8mb4", False),
        ("char(20) utf8mb4", "varchar(20) utf8mb4", True),
        ("varchar(20) utf8mb4", "mediumtext utf8mb4", True),
        ("varchar(20) utf8mb4", "varbinary(80)", False),
        ("binary(4)", "binary(4)", True),
        ("binary(4)", "binary(8)", False),
        ("binary(4)", "varbinary(4)", False),
        ("varbinary(4)", "blob", True),
        ("enum(a,b)", "enum(a,b,c)", True),
        ("enum(a,b)", "enum(c,a,b)", False),
        ("datetime(3)", "datetime(6)", False),
        ("datetime(3)", "datetime(3)", True),
    ],
)
def test_whether_values_stay_the_same(old: str, new: str, same: bool) -> None:
    assert same_values(column(old), column(new)) is same


def table(*names: str) -> Table:
    return Table("s", "t", tuple(column("int", name) for name in names), ("id",))


def rule(**more: Any) -> TableRule:
    return TableRule("s.t", "target", "record", KeyRule("id", "${id}", "N"), **more)


@pytest.mark.parametrize(
    ("more", "carried"),
    [
        ({"new_columns": "ignore"}, ["a"]),
        ({"new_columns": "include"}, ["new", "a"]),
        ({"exclude": ("new",)}, ["a"]),
        ({"new_columns": "ignore", "rename": {"new": "x"}}, ["x", "a"]),
        ({"types": {"new": "S"}}, ["new", "a"]),
    ],
)
def test_a_new_column_is_what_the_rule_says(more: dict[str, Any], carried: list[str]) -> None:
    """And the mapping of the first version knows nothing of it."""
    versions = Versions(rule(**more), table("id", "a"), ["new"])
    assert [each.attribute for each in versions.of(table("id", "new", "a")).design.carried] == carried
    assert [each.attribute for each in versions.of(table("id", "a")).design.carried] == ["a"]


def test_a_column_that_went_has_no_before_image_any_more() -> None:
    versions = Versions(rule(before_image={"old": "a"}, types={"old": "S"}, exclude=("a",)), table("id", "a"))
    assert [each.attribute for each in versions.of(table("id", "a")).design.carried] == ["old"]
    assert [each.attribute for each in versions.of(table("id")).design.carried] == []


def test_the_default_is_to_stop() -> None:
    versions = Versions(rule(), table("id", "a"))
    with pytest.raises(SchemaDrift, match=r"new column 'new' \(int\).*new_columns = .*the same command again"):
        versions.of(table("id", "a", "new"))


def test_values_that_were_exchanged_are_no_old_column() -> None:
    versions = Versions(rule(), table("id", "a"))
    versions.of(table("id", "a"))
    with pytest.raises(SchemaDrift, match="column 'a' has other values than before"):
        versions.of(table("id", "a"), {"a"})


def test_a_rule_that_never_fitted_is_no_drift() -> None:
    with pytest.raises(MappingError):
        Versions(rule(exclude=("b",)), table("id", "a")).of(table("id", "a"))


class Pickled:
    """Something happens when it is pickled."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        self._happens()
        return int, ()


def test_they_are_sent_to_a_worker_although_another_thread_compiles_one() -> None:
    """Python refuses to pickle a dict that grows meanwhile."""
    table = Table("shop", "t", (column("int not null", "id"),), ("id",))
    altered = Table("shop", "t", (*table.columns, column("int", "more")), ("id",))
    rule = TableRule("shop.t", "items", "record", KeyRule("pk", "${id}"), new_columns="include")

    versions = Versions(rule, table)
    versions.of(table)
    versions._mappings[replace(table, name="other")] = Pickled(lambda: versions.of(altered))  # type: ignore[assignment]
    sent = pickle.loads(pickle.dumps(versions))
    assert altered in versions._mappings
    assert sent.of(table).target == "items"
