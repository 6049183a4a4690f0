"""What a command refuses, and that it names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.servers import MariaDB
from demo.shop import fill
from tests.e2e import judge
from tests.e2e.work import GROUP, RECORD, Work


@pytest.fixture
def shop(work: Work) -> Work:
    fill(work.source, work.database, 200)
    return work


@pytest.fixture
def migrated(shop: Work) -> Work:
    shop.call("migrate", "--until-caught-up")
    return shop


def test_unknown_tables_are_named(shop: Work) -> None:
    shop.table = "purchases"
    shop.write_project()
    assert f"{shop.database}.purchases" in shop.call("migrate", code=3).stderr
    assert (
        "no_such"
        in shop.run("init", shop.source.url(shop.database), "--table", "no_such", "--output", "x.toml", code=3).stderr
    )
    assert not (shop.folder / "x.toml").exists()


def test_misspelt_settings_are_named_all_at_once(shop: Work) -> None:
    shop.source_settings = "chunk_row = 5"
    shop.target_settings = "max_write_unit = 7"
    shop.write_project()
    told = shop.call("migrate", code=2).stderr
    assert "chunk_row" in told
    assert "'chunk_rows'" in told
    assert "'max_write_units'" in told


def test_no_project_file_tells_how_to_make_one(tmp_path: Path, work: Work) -> None:
    (work.folder / "whimbrel.toml").unlink()
    assert "whimbrel init" in work.call("migrate", code=2).stderr


def test_a_source_that_is_down_is_named(shop: Work) -> None:
    file = shop.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace(f":{shop.source.port}/", ":1/"))
    told = shop.call("migrate", code=3).stderr
    assert "127.0.0.1:1" in told
    assert "Traceback" not in told


def test_a_target_with_items_is_refused_unless_allowed(shop: Work) -> None:
    client = shop.endpoint.client()
    client.create_table(
        TableName=shop.target,
        KeySchema=[
            {"AttributeName": "customerid", "KeyType": "HASH"},
            {"AttributeName": "orderid", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "customerid", "AttributeType": "S"},
            {"AttributeName": "orderid", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    stranger = {"customerid": {"S": "stranger"}, "orderid": {"S": "x"}}
    client.put_item(TableName=shop.target, Item=stranger)
    refused = shop.call("migrate", "--until-caught-up", code=3).stderr
    assert shop.target in refused
    assert "has items" in refused
    assert len(judge.items(shop.endpoint, shop.target, "customerid", "orderid")) == 1
    shop.call("migrate", "--until-caught-up", "--into-existing")
    found = judge.items(shop.endpoint, shop.target, "customerid", "orderid")
    assert found.pop(("stranger", "x"))
    assert found == judge.orders(shop.source, shop.database)
    assert shop.verify(equal=False)["counts"] == {"extra": 1}


def test_a_target_with_another_key_is_refused(shop: Work) -> None:
    shop.endpoint.client().create_table(
        TableName=shop.target,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    refused = shop.call("migrate", "--until-caught-up", "--into-existing", code=3).stderr
    assert "another key" in refused or "has the key" in refused
    assert "customerid" in refused


@pytest.mark.parametrize("again", ["gone", "made again"])
@pytest.mark.parametrize("phase", ["load", "apply"])
def test_a_target_dropped_between_two_runs_is_refused(shop: Work, again: str, phase: str) -> None:
    if phase == "load":
        shop.target_settings = "max_write_units = 10"
        shop.write_project()
        with shop.running("migrate") as process:
            shop.wait_for(lambda: shop.checkpoint()["phase"] == "load", process)
            shop.wait_for(lambda: next(iter(shop.checkpoint()["tables"].values()))["target_id"], process)
    else:
        shop.call("migrate", "--until-caught-up")
    client = shop.endpoint.client()
    description = client.describe_table(TableName=shop.target)["Table"]
    client.delete_table(TableName=shop.target)
    if again == "made again":
        client.create_table(
            TableName=shop.target,
            KeySchema=description["KeySchema"],
            AttributeDefinitions=description["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
        )
    refused = shop.call("migrate", "--until-caught-up", code=3).stderr
    assert shop.target in refused
    assert "not the one that was loaded" in refused


def test_another_mapping_than_the_items_were_made_with_is_refused(migrated: Work) -> None:
    migrated.mapping = RECORD
    migrated.write_project()
    for command in ("migrate", "verify"):
        assert "not the one that this migration began with" in migrated.call(command, code=3).stderr
    migrated.mapping = GROUP
    migrated.write_project()
    migrated.verify()


def test_another_server_is_refused(migrated: Work, tmp_path: Path) -> None:
    with MariaDB(tmp_path / "other", server_id=77) as other:
        other.execute(f"CREATE DATABASE {migrated.database}")
        fill(other, migrated.database, 50)
        migrated.source = other
        migrated.write_project()
        refused = migrated.call("migrate", code=3).stderr
    assert "this source is 77:" in refused
    assert "the migration followed" in refused


def test_a_mapping_that_does_not_fit_names_every_fault(shop: Work) -> None:
    shop.mapping = """
    shape = "group"
    partition_key = { name = "customerid", value = "${customer}" }
    sort_key = { name = "orderid" }
    entry = { name = "${product}", value = "amount" }
    """
    shop.write_project()
    told = shop.call("migrate", code=2).stderr
    for column in ("customer", "product", "amount"):
        assert f"'{column}'" in told or f"{{{column}}}" in told
    assert not shop.checkpoint()["tables"]
