"""The target, what all of it costs, and the way to look at rows before."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from demo.servers.process import free_port
from tests.checks.case import GROUP, PURCHASE, RECORD, Case
from whimbrel.checks.cost import Prices, TableLoad, cost_findings, cost_of, read_prices
from whimbrel.checks.findings import KINDS
from whimbrel.checks.reserved import needs_placeholder, reserved_words
from whimbrel.checks.sample import Mapped, item_sizes
from whimbrel.errors import ProjectError
from whimbrel.project import Target
from whimbrel.records import Put

TABLE = "CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, v VARCHAR(9), n INT NOT NULL)"


def make_table(case: Case, key: str = "id", **more: Any) -> None:
    attributes = {key: "S", **more.pop("attributes", {})}
    case.endpoint.client().create_table(
        TableName=case.target,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes.items()],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def index(name: str, key: str) -> dict[str, Any]:
    keys = [{"AttributeName": key, "KeyType": "HASH"}]
    return {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}


def test_the_target_table(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(TABLE)
    case.project(RECORD)
    make_table(case)
    assert {"target-key", "target-not-empty", "target-index"}.isdisjoint(case.check())
    case.endpoint.client().put_item(TableName=case.target, Item={"id": {"S": "somebody else's"}})
    assert "target-not-empty" in case.check()
    (case.folder / ".whimbrel").mkdir()
    (case.folder / ".whimbrel" / "checkpoint.json").write_text("{}")
    assert "target-not-empty" not in case.check()


def test_another_key(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    make_table(on_mariadb, "other")
    assert "the table has the key (other S), the mapping needs (id S)" in on_mariadb.reason("target-key")


def test_an_index_that_would_refuse_items(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(TABLE)
    case.project(RECORD)
    make_table(case, attributes={"v": "S", "n": "S"}, GlobalSecondaryIndexes=[index("by-v", "v"), index("by-n", "n")])
    reason = case.reason("target-index")
    assert "index by-v: v may be NULL" in reason
    assert "index by-n: n is S there, and N by the mapping" in reason
    case.project(RECORD + 'nulls = "omit"\ntypes = { n = "S" }')
    assert "target-index" not in case.check()


def test_a_mark_that_is_off_or_whose_table_is_another(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(TABLE)
    case.project(RECORD)
    assert {"no-mark", "target-mark"}.isdisjoint(case.check())
    file = case.folder / "whimbrel.toml"
    written = file.read_text()
    file.write_text(written.replace("[target]", '[target]\nmark = "off"'))
    assert "no-mark" in case.check()
    make_table(case)
    file.write_text(
        written.replace("[target]", f'[target]\nmark = "{case.target}"').replace(
            f'target = "{case.target}"', 'target = "elsewhere"'
        )
    )
    assert "target-mark" in case.check()


@pytest.mark.usefixtures("tried_again_at_once")
def test_an_unreachable_target(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    file = on_mariadb.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace(on_mariadb.endpoint.endpoint, f"http://127.0.0.1:{free_port()}"))
    assert "target-unreachable" in on_mariadb.check()


# --- cost -----------------------------------------------------------------------------------------------------------

PRICES = Prices(
    "us-east-1", "2025-07", "here", True, write_million=1.0, write_hour=0.001, storage_gb=0.25, import_gb=0.1
)


def test_the_cost_of_a_load() -> None:
    load = TableLoad(items=10_000_000, item_bytes=1500.0, write_units=20_000_000.0, json_bytes=1800.0)
    cost = cost_of([load], Target(), PRICES)
    on_demand, provisioned, imported = cost.ways
    assert (on_demand.rate, on_demand.dollars, round(on_demand.hours or 0, 3)) == (4000.0, 20.0, 1.389)
    assert (provisioned.rate, provisioned.dollars) == (4000.0, 8.0)  # two hours begun
    assert imported.hours is None
    assert imported.dollars == pytest.approx(18e9 / (1 << 30) * 0.1)
    assert cost.storage_gb == pytest.approx(16e9 / (1 << 30))  # with 100 bytes for each item
    assert cost.storage_dollars == pytest.approx(16e9 / (1 << 30) * 0.25)
    assert not list(cost_findings(cost, Target()))


def test_the_rate_that_the_project_gives() -> None:
    load = TableLoad(items=1e9, item_bytes=100.0, write_units=1e9, json_bytes=120.0)
    cost = cost_of([load], Target(max_write_units=1000.0), PRICES)
    assert (cost.ways[0].rate, cost.ways[0].hours) == (1000.0, 1e6 / 3600)
    assert [each.code for each in cost_findings(cost, Target(max_write_units=1000.0))] == ["slow-load"]
    target = Target(billing="provisioned", write_capacity=20_000)
    provisioned = cost_of([load], target, PRICES).ways[1]
    assert (provisioned.rate, provisioned.dollars) == (20_000.0, 14 * 20.0)


def test_a_heavy_partition_key_holds_the_load_up() -> None:
    load = TableLoad(items=1e6, item_bytes=100.0, write_units=1e6, json_bytes=120.0, heaviest_share=0.9)
    assert cost_of([load], Target(), PRICES).ways[0].hours == 900 / 3600


def test_prices_of_ones_own(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(TABLE, "INSERT INTO t VALUES ('a', 'b', 1)")
    mine = case.folder / "mine.toml"
    mine.write_text('as_of = "2030-01"\n[regions.us-east-1]\nwrite_million = 1000000.0\n')
    case.project(RECORD)
    case.check("--prices", str(mine))
    cost = case.report["cost"]
    assert (cost["prices"]["as_of"], cost["ways"][0]["dollars"], cost["storage_dollars"]) == ("2030-01", 1.0, None)
    case.project(RECORD, top='[check]\nprices = "mine.toml"')
    case.check()
    assert case.report["cost"]["prices"]["origin"].endswith("mine.toml")
    mine.write_text('as_of = "2030-01"\n[regions.mars-north-1]\n')
    assert "us-east-1 is not in" in case.reason("prices")
    assert "no price" in case.call("check").output


@pytest.mark.parametrize("text", ["", "as_of = 1", "regions = 3\nas_of = 1", "[regions]\nus-east-1 = 3", "\x00", "a b"])
def test_a_bad_price_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(ProjectError, match="is not a price file"):
        read_prices(file, "us-east-1")
    with pytest.raises(ProjectError, match="cannot be read"):
        read_prices(tmp_path / "missing", "us-east-1")


def test_the_prices_that_come_with_whimbrel() -> None:
    for region in ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-2"):
        prices = read_prices(None, region)
        assert prices.known
        assert prices.as_of
        assert prices.write_million
        assert prices.write_hour
        assert prices.storage_gb
        assert re.fullmatch(r"2026-\d\d-\d\d", prices.as_of)
    assert not read_prices(None, "mars-north-1").known


def test_a_price_that_is_not_confirmed_is_not_estimated() -> None:
    prices = read_prices(None, "us-west-1")
    assert (prices.known, prices.write_hour, prices.write_million) == (True, 0.000725, None)
    cost = cost_of([TableLoad(1e6, 100.0, 1e6, 120.0)], Target(), prices)
    assert (cost.ways[0].dollars, cost.storage_dollars) == (None, None)
    [found] = cost_findings(cost, Target())
    assert found.reason.endswith("has none for on-demand writes, storage, an import from S3")


def test_items_count_once_however_many_rows_they_have() -> None:
    """Nine rows of ten are in one item: rows drawn at random mostly meet it, items are two."""
    heavy = Mapped([(1,)] * 9, Put("t", {}, {"a": {"S": "x" * 8999}}), [])
    light = Mapped([(1,)], Put("t", {}, {"a": {"S": "x" * 999}}), [])
    sizes = item_sizes([heavy] * 9 + [light])
    assert sizes
    assert sizes.rows == pytest.approx(5.0)
    assert sizes.bytes == pytest.approx(5000.0)
    assert sizes.write_units == pytest.approx((9 + 1) / 2)
    assert item_sizes([]) is None


def test_the_estimate_is_what_the_items_are(on_mariadb: Case) -> None:
    case = on_mariadb
    rows = ", ".join(f"('c{n % 7}', 'o{n % 3}', 'p{n:05}', {n})" for n in range(2000))
    case.execute(PURCHASE, f"INSERT INTO purchase VALUES {rows}")
    case.project(GROUP, "purchase")
    case.check()
    table, cost = case.report["tables"][0], case.report["cost"]
    assert (table["rows"], table["items"], cost["items"]) == (2000, 21, 21)
    assert cost["write_units"] == pytest.approx(21.0)
    assert table["sizes"]["bytes"] == pytest.approx(
        sum(9 + 7 + 2 + 2 + 7 * 95 + 95 * 2 for _ in range(21)) / 21, rel=0.2
    )


# --- preview --------------------------------------------------------------------------------------------------------


def test_preview(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), b VARBINARY(9))",
        "INSERT INTO t VALUES (1, 'x', x'00ff'), (2, '', NULL), (3, NULL, '')",
    )
    case.project('shape = "record"\npartition_key = { name = "a" }\nsort_key = { name = "id", type = "N" }')
    result = case.call("preview", "--json")
    assert result.exit_code == 4
    [table] = json.loads(result.stdout)["tables"]
    first, second, third = table["items"]
    assert first == {
        "rows": [{"id": 1, "a": "x", "b": {"base64": "AP8="}}],
        "item": {"a": {"S": "x"}, "id": {"N": "1"}, "b": {"B": "AP8="}},
        "bytes": 9,
        "write_units": 1,
        "dead_letters": [],
    }
    assert (second["item"], second["bytes"]) == (None, None)
    assert "is empty" in second["dead_letters"][0]
    assert "is NULL" in third["dead_letters"][0]
    text = case.call("preview").output
    assert '  item  {"a":{"S":"x"},"id":{"N":"1"},"b":{"B":"AP8="}}\n        9 bytes, 1 write unit\n' in text
    assert "  dead  " in text


def test_preview_of_a_group_has_all_rows_of_an_item(case: Case) -> None:
    rows = ", ".join(f"('c1', 'o1', 'p{n:02}', {n})" for n in range(40))
    case.execute(PURCHASE, f"INSERT INTO purchase VALUES {rows}, ('c2', 'o1', 'p1', 1)")
    case.project(GROUP, "purchase")
    result = case.call("preview", "--json", "-n", "1")
    assert result.exit_code == 0
    [item] = json.loads(result.stdout)["tables"][0]["items"]
    assert (len(item["rows"]), len(item["item"])) == (40, 42)
    text = case.call("preview", "-n", "1").output
    assert "and 30 more rows" in text


def test_preview_of_one_table(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    assert "no rows" in on_mariadb.call("preview", "-t", "t").output
    refused = on_mariadb.call("preview", "-t", "nothing")
    assert refused.exit_code == 2
    assert "there is no [[table]] for nothing\n" in refused.output
    assert f"hint: There are: {on_mariadb.database}.t" in refused.output


# --- names and documentation ----------------------------------------------------------------------------------------


def test_reserved_words() -> None:
    assert len(reserved_words()) == 573
    assert needs_placeholder("name")
    assert needs_placeholder("Status")
    assert needs_placeholder("a-b")
    assert needs_placeholder("1st")
    assert not needs_placeholder("customer_id")


def test_the_page_has_every_finding() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| `[a-z-]+` \|", line)]
    assert rows == [f"| `{code}` | {each.severity} | {each.meaning} | {each.remedy} |" for code, each in KINDS.items()]
