"""What one process does to a lake while another one is at work there; and models trained from a lake in S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo import bank
from demo.servers import Ministack
from tests.lake.machines import Bucketed
from tests.lake.test_convert import RULES, chain, rows
from tests.lake.test_shared import Shop
from whimbrel.lake import datasets
from whimbrel.lake.convert import from_exports
from whimbrel.lake.native import find_exports
from whimbrel.lake.shared import SharedLake


@pytest.fixture
def shop(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> Shop:
    return Shop(tmp_path, ministack, new_table_name("meanwhile"))


def test_a_conversion_under_way_is_left_alone_by_whoever_removes(tmp_path: Path) -> None:
    chain(tmp_path / "e")
    exports = find_exports(tmp_path / "e")
    for count in (1, 2):
        from_exports(tmp_path, RULES, exports[:count])
    with datasets.building(tmp_path, "test", "20260101T000000.000000-abcdef") as workshop:
        (workshop / "part-00000-0.parquet").write_bytes(b"half of it")
        assert datasets.retain(tmp_path, "test", keep=1) == []
        assert (workshop / "part-00000-0.parquet").exists()
    assert len(datasets.retain(tmp_path, "test", keep=1)) == 1
    assert len(rows(tmp_path)) == 100


def test_a_conversion_whose_base_is_removed_meanwhile_loses_by_name(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the data set that it continues, and another machine makes one from scratch and keeps no other."""
    other = shop.machine("other", "keep = 1\nkeep_exports = 1\n")
    shop.a.run("export", shop.table)
    shop.a.run("convert", shop.table)
    shop.put(1, -1)
    shop.a.run("export", shop.table)
    real, done = SharedLake.publish, list[int]()

    def publish(lake: SharedLake, manifest: Any, *, current: bool) -> None:
        if not done:
            done.append(1)
            other.run("export", shop.table, "--full")
            other.run("convert", shop.table)
        real(lake, manifest, current=current)

    monkeypatch.setattr(SharedLake, "publish", publish)
    said = shop.a.run("convert", shop.table, code=3)
    assert "given up" in said
    monkeypatch.undo()
    ids = {name.split("/")[3] for name in shop.bucket.names("/datasets/") if name.count("/") > 3}
    assert ids == {shop.current()}, "nothing of the loser is left, and nothing of what it continued"
    assert shop.b.rows(shop.table) == other.rows(shop.table) == shop.expected()


def test_what_is_published_while_another_removes_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shop.machine("other", "keep = 1\n")
    for turn in range(2):
        shop.put(turn, 100 + turn)
        shop.a.run("export", shop.table)
        shop.a.run("convert", shop.table)
    shop.put(5, 5)
    shop.a.run("export", shop.table)
    real, done = datasets.too_old, list[int]()

    def too_old(*arguments: Any) -> Any:
        found = real(*arguments)
        if not done:
            done.append(1)
            shop.put(6, 6)
            shop.a.run("export", shop.table)
            shop.a.run("convert", shop.table)
        return found

    monkeypatch.setattr(datasets, "too_old", too_old)
    other.run("convert", shop.table)
    assert done
    monkeypatch.undo()
    assert shop.b.rows(shop.table) == shop.expected()


def test_a_model_is_trained_and_renewed_from_a_lake_in_s3(
    tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]
) -> None:
    table, bucket = new_table_name("bank"), Bucketed(ministack)
    rules = (
        f'[[dataset]]\ntable = "{table}"\nname = "bank"\nkey = ["customer_id"]\n'
        '[[model]]\nname = "bank"\ntarget = "y"\n[[endpoint]]\nname = "bank"\n[[renewal]]\nmodel = "bank"\n'
    )
    bank.put(bank.rows(600, 3), ministack.target(), table)
    one, two = (bucket.machine(tmp_path / name, ministack, rules) for name in ("one", "two"))
    one.run("export", table)
    made = json.loads(one.run("convert", table, "--json"))
    trained = json.loads(two.run("train", "--json").splitlines()[-1])
    assert trained["model"] == "bank"
    model = json.loads(next((two.folder / ".whimbrel" / "models").rglob("model.json")).read_bytes())
    assert model["trained_on"] == {"manifest": made["id"], "as_of": made["as_of"]}
    said = json.loads(two.run("renew", "--json").splitlines()[-1])
    assert said["outcome"] in ("renewed", "kept")
    assert said["results"]["convert"]["id"] > made["id"]
    assert one.run("query", "-f", "csv", "SELECT count(*) FROM bank").splitlines()[-1] == "600"
