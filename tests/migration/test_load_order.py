"""``load_order = "spread"``: items of one partition key lie together in the source, and are not written together.

DynamoDB gives a partition 1,000 write units a second, and a partition has a range of the keys' hashes. A second is here
1,000 items, as they come to the wire: what one key, or one of 16 ranges, has of them is what matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from tests.migration.loading import Loading
from whimbrel.checkpoint import TableProgress
from whimbrel.errors import MappingError
from whimbrel.migration.dead import read_letters
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table

ROWS_OF_A_TENANT, TENANTS, A_SECOND = 1_000, 16, 1_000
TABLE = Table(
    "shop",
    "things",
    (Column("tenant", "int", nullable=False), Column("id", "int", nullable=False), Column("name", "text", length=20)),
    ("tenant", "id"),
)
BY_KEY = TableRule(
    "shop.things", "items", "record", KeyRule("pk", "TENANT#${tenant}"), KeyRule("sk", "${id}"), load_order="key"
)
LOOKING_AT: dict[str, Callable[[str], object]] = {
    "one key": lambda key: key,
    "one of 16 hash ranges": lambda key: md5(key.encode(), usedforsecurity=False).digest()[0] >> 4,
}


def loaded(folder: Path, rule: TableRule) -> Loading:
    folder.mkdir()
    loading = Loading(folder, rule, TABLE)
    for tenant in range(TENANTS):
        loading.chunk(*((tenant, n, "x") for n in range(ROWS_OF_A_TENANT)), high=tenant)
    rows = len(loading.rows)
    loading.checkpoints.save(
        loading.checkpoints.now.with_table("shop.things", TableProgress(chunks_planned=TENANTS, rows_exported=rows))
    )
    loading.load()
    assert (loading.loaded.rows_loaded, loading.loaded.items_loaded) == (rows, rows)
    assert len(loading.wire.table("items")) == rows
    return loading


def largest_share(loading: Loading, looking_at: Callable[[str], object]) -> float:
    """Of the writes of any second."""
    written = [
        looking_at(request["PutRequest"]["Item"]["pk"]["S"])
        for _, body in loading.wire.calls
        for request in body["RequestItems"]["items"]
    ]
    seconds = [written[at : at + A_SECOND] for at in range(0, len(written) - A_SECOND + 1, A_SECOND // 4)]
    return max(Counter(second).most_common(1)[0][1] / len(second) for second in seconds)


def test_no_key_is_written_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.spill.PARTITION_ROWS", 4_000)
    by_key = loaded(tmp_path / "key", BY_KEY)
    spread = loaded(tmp_path / "spread", replace(BY_KEY, load_order="spread"))
    assert spread.wire.table("items") == by_key.wire.table("items")
    shares = {
        what: (largest_share(by_key, looking_at), largest_share(spread, looking_at))
        for what, looking_at in LOOKING_AT.items()
    }
    assert shares["one key"][0] == 1.0
    assert shares["one of 16 hash ranges"][0] == 1.0
    # A key has a sixteenth of all rows: what is more is chance. A range has as many as there are keys in it.
    assert shares["one key"][1] < 0.1
    most = Counter(LOOKING_AT["one of 16 hash ranges"](f"TENANT#{tenant}") for tenant in range(TENANTS)).most_common(1)
    assert shares["one of 16 hash ranges"][1] < most[0][1] / TENANTS + 0.05


def test_an_item_that_is_too_large_ends_the_load_if_the_rule_says_so(tmp_path: Path) -> None:
    large = (1, 1, "x" * 500_000)
    for oversize in ("dead", "stop"):
        folder = tmp_path / oversize
        folder.mkdir()
        loading = Loading(folder, replace(BY_KEY, oversize=oversize), TABLE)
        loading.chunk((1, 2, "y"), large, high=None)
        if oversize == "stop":
            with pytest.raises(MappingError, match=r'more than the 409600 .*TENANT#1.* oversize is "stop"'):
                loading.load()
            assert (list(read_letters(folder / "dead.jsonl")), loading.loaded.loaded) == ([], frozenset())
        else:
            loading.load()
            assert len(list(read_letters(folder / "dead.jsonl"))) == 1
            assert loading.loaded.loaded == {1}
