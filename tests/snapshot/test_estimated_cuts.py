"""Chunks whose ends are computed: whatever the server estimates and however it orders keys, each row is in one chunk.
Where its estimates are good, few chunks are cut by stepping over rows.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshot.conftest import Shop
from whimbrel.errors import SourceError
from whimbrel.mysql import chunks, estimated_cuts
from whimbrel.mysql.chunks import chunk_count, plan
from whimbrel.mysql.connect import rows_as_dicts
from whimbrel.mysql.estimated_cuts import value_between
from whimbrel.mysql.key_index import Key, KeyIndex
from whimbrel.records import Column, Table, Value

Order = Callable[[Value], Any]

ORDERS: list[Order] = [
    lambda value: value,
    lambda value: str(value).casefold(),  # values that are equal here stay in one chunk
    lambda value: hashlib.md5(repr(value).encode()).digest(),
    lambda value: str(value)[::-1],
]
INTS = Column("k", "int")
TEXTS = Column("k", "text", charset="utf8mb4", collation="utf8mb4_bin")
BYTES = Column("k", "binary")


class OrderedKeys:
    """Stands for KeyIndex: keys in any order of their values, and estimates that are right, wrong or missing."""

    def __init__(self, rows: list[Key], order: Order, columns: list[Column], seed: int) -> None:
        self.columns, self._order, self._random = columns, order, random.Random(seed)
        self.rows = sorted(rows, key=self.place)

    def place(self, key: Key) -> list[Any]:
        return [self._order(value) for value in key]

    def between(self, low: Key | None, high: Key | None = None) -> list[Key]:
        above = [row for row in self.rows if low is None or self.place(row) > self.place(low)]
        return above if high is None else [row for row in above if self.place(row) < self.place(high)]

    def behind(self, low: Key | None, rows: int) -> Key | None:
        return next(iter(self.between(low)[rows - 1 :]), None)

    def first(self, low: Key, start: Key, high: Key | None = None) -> Key | None:
        found = self.between(low, high)
        return next((row for row in found if self.place(row)[: len(start)] >= self.place(start)), None)

    def last(self, low: Key, start: Key) -> Key | None:
        same = [row for row in self.between(low) if self.place(row)[: len(start)] == self.place(start)]
        return same[-1] if same else None

    def estimate(self, low: Key | None, high: Key) -> int:
        right = len(self.between(low)) - len(self.between(high))
        return self._random.choice([0, 1, right, right, right, right // 3, 10 * right, 7])


values = st.one_of(
    st.tuples(st.just(INTS), st.lists(st.integers(-(2**63), 2**64), max_size=60)),
    st.tuples(st.just(INTS), st.lists(st.integers(-9, 40), max_size=60)),
    st.tuples(st.just(TEXTS), st.lists(st.text("abAB019 é", max_size=4), max_size=60)),
    st.tuples(st.just(BYTES), st.lists(st.binary(max_size=3), max_size=60)),
)


@given(first=values, second=st.integers(1, 4), order=st.sampled_from(ORDERS), seed=st.integers(0, 999))
def test_each_row_is_in_one_chunk_whatever_is_estimated(
    first: tuple[Column, Sequence[Value]], second: int, order: Order, seed: int
) -> None:
    column, found = first
    rows: list[Key] = [(value, number) for value in found for number in range(second)]
    columns = [column, Column("n", "int")]
    keys = OrderedKeys(rows, order, columns, seed)
    table = Table("shop", "t", tuple(columns), ("k", "n"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimated_cuts, "LEAST_ROWS", 1)
        patch.setattr(chunks, "KeyIndex", lambda *_: keys)
        cut: Any = None  # no connection
        made = list(plan(cut, table, ("k", "n"), 5, cutting=(("k", "n"), "PRIMARY")))
    assert [chunk.number for chunk in made] == list(range(1, len(made) + 1))
    assert made[0].low is made[-1].high is None
    assert [chunk.high for chunk in made[:-1]] == [chunk.low for chunk in made[1:]]
    places = [keys.place(chunk.high) for chunk in made[:-1] if chunk.high is not None]
    assert len(places) == len(made) - 1
    assert all(one < other for one, other in itertools.pairwise(places))


numbers = st.integers(0, 10**9)


@given(one=numbers, other=numbers, part=st.floats(0, 0.999), prefix=st.text("abc", max_size=3))
def test_a_value_between_two(one: int, other: int, part: float, prefix: str) -> None:
    low, high = sorted((one, other))
    for column, left, right in (
        (INTS, low, high),
        (TEXTS, f"{prefix}{low:010}", f"{prefix}{high:010}"),
        (TEXTS, f"{prefix}{low:08x}", f"{prefix}{high:08x}"),
        (BYTES, low.to_bytes(5), high.to_bytes(5)),
    ):
        value: Any = value_between(column, left, right, part)
        assert value is None or left <= value <= right, value
        if isinstance(left, int) and low < high:
            assert abs(value - (low + (high - low) * part)) <= 1
    assert value_between(TEXTS, f"{prefix}ü", f"{prefix}z", part) is None
    assert value_between(Column("k", "datetime"), "2020-01-01 00:00:00", "2021-01-01 00:00:00", part) is None


def test_a_text_between_two_has_no_other_characters_before_it() -> None:
    turkish = Column("k", "text", charset="latin5", collation="latin5_turkish_ci")
    assert value_between(turkish, "İA", "İc", 0.5) == "İb00000"


SIZE = 500
KINDS = {
    "dense": ("id INT PRIMARY KEY", "x"),
    "gaps": ("id BIGINT PRIMARY KEY", "IF(x % 3, x, x * x)"),
    "two ranges": ("id BIGINT PRIMARY KEY", "IF(x < 3000, x, 1000000000000 + x * 7)"),
    "groups": ("a INT, id INT, PRIMARY KEY (a, id)", "FLOOR(x / 5), x"),
    "few groups": ("a INT, id INT, PRIMARY KEY (a, id)", "FLOOR(SQRT(x / 800)), x"),
    "texts": ("id VARCHAR(30) PRIMARY KEY", "CONCAT('customer', LPAD(x, 12, '0'))"),
    "texts of any length": ("id VARCHAR(30) PRIMARY KEY", "CONCAT('u', x)"),
    "UUIDs": ("id CHAR(36) CHARACTER SET ascii PRIMARY KEY", "INSERT(LEFT(SHA2(x, 256), 32), 9, 0, '-')"),
    "bytes": ("id BINARY(16) PRIMARY KEY", "UNHEX(LEFT(SHA2(x, 256), 32))"),
}
QUICK = "few groups", "texts"


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[] if k in QUICK else pytest.mark.slow) for k in KINDS])
def test_few_chunks_are_cut_by_stepping(shop: Shop, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    columns, key = KINDS[kind]
    digits = "(" + " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10)) + ")"
    shop.execute(
        f"CREATE TABLE t ({columns}, v VARCHAR(40))",
        f"INSERT IGNORE INTO t SELECT {key}, REPEAT('v', 40) FROM (SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + "
        f"10000 * e.n AS x FROM {digits} a, {digits} b, {digits} c, {digits} d, (SELECT 0 AS n UNION SELECT 1) e) many",
        "ANALYZE TABLE t",
    )
    table = shop.table()
    monkeypatch.setattr(estimated_cuts, "LEAST_ROWS", 1)
    stepped: list[Key | None] = []
    behind = KeyIndex.behind

    def noted(self: KeyIndex, low: Key | None, rows: int) -> Key | None:
        stepped.append(low)
        return behind(self, low, rows)

    monkeypatch.setattr(KeyIndex, "behind", noted)
    made = list(plan(shop.connection, table, table.primary_key, SIZE))
    sizes = [
        next(iter(rows_as_dicts(shop.connection, chunk_count(table, chunk, "PRIMARY"))[0].values())) for chunk in made
    ]
    assert sum(sizes) == shop.execute("SELECT COUNT(*) FROM t")[0][0]
    assert len(stepped) <= len(made) / 3, (stepped, sizes)
    assert sum(size > 3 * SIZE for size in sizes) <= len(sizes) / 10, sizes


@pytest.mark.parametrize(
    "error", [SourceError("syntax error near EXPLAIN"), UnicodeEncodeError("swe7", "[", 0, 1, "no such character")]
)
def test_without_estimates_a_table_is_cut_by_stepping(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shop.execute("CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t VALUES (1),(2),(3),(4),(5)")

    def refused(*_: object) -> int:
        raise error

    monkeypatch.setattr(estimated_cuts, "LEAST_ROWS", 1)
    monkeypatch.setattr(KeyIndex, "estimate", refused)
    assert [chunk.high for chunk in plan(shop.connection, shop.table(), ("a",), 2)] == [(2,), (4,), None]
