"""The commands as a new user meets them, and what they say when something is wrong."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack, SqlServer
from demo.shop import fill
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import GROUP, RECORD, Work

SECRET = "correct-horse-battery"


@pytest.fixture
def shop(work: Work) -> Work:
    fill(work.source, work.database, 200)
    return work


@pytest.fixture
def migrated(shop: Work) -> Work:
    shop.call("migrate", "--until-caught-up")
    return shop


# -- the way of a new user ---------------------------------------------------------------------------------------------


def test_init_check_dry_run_migrate_status_verify(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack)
    project = work.folder / "whimbrel.toml"
    project.unlink()
    rows = fill(source_server, work.database, 200)
    url = source_server.url(work.database).replace("@", f":{source_server.password}@")
    said = work.run("init", url, "--endpoint", ministack.endpoint).stdout
    assert "WHIMBREL_SOURCE_PASSWORD" in said
    text = project.read_text()
    assert source_server.password not in text + said
    assert f'source = "{work.database}.purchase"' in text
    assert "#   quantity" in text
    assert "primary key (customerid, orderid, productid)" in text

    project.write_text(text.replace('target = "purchase"', f'target = "{work.target}"'))
    edited = project.read_text()
    assert "is there already" in work.run("init", url, code=2).stderr
    assert project.read_text() == edited

    assert not json.loads(work.run("check", "--json").stdout)["errors"]
    said = work.run("migrate", "--dry-run").stdout
    assert "Nothing was done" in said
    assert "the mark of this state folder into whimbrel, which" in said
    plan = json.loads(work.run("migrate", "--dry-run", "--json").stdout)
    assert plan["tables"][0]["exists"] is False
    assert plan["mark"]["table"] == "whimbrel"
    assert "its mark, to the table whimbrel" in work.run("preview").stdout
    assert not work.state.exists()
    assert work.target not in ministack.client().list_tables()["TableNames"]

    assert "nothing has begun" in work.run("status", code=3).stderr
    assert f"Done: {rows} rows exported, {rows} items loaded" in work.run("migrate", "--until-caught-up").stderr
    assert "phase      apply" in work.run("status").stdout
    assert "Differences: 0" in work.run("verify").stdout
    work.assert_equal(as_init_wrote_it, ("customerid", "orderid_productid"))


def as_init_wrote_it(server: SqlServer, database: str) -> judge.Expected:
    rows = server.execute("SELECT customerid, orderid, productid, quantity FROM purchase", database=database)
    names = ("customerid", "orderid", "productid", "quantity")
    return {
        (row[0], f"{row[1]}|{row[2]}"): dict(zip(names, row, strict=True)) | {"orderid_productid": f"{row[1]}|{row[2]}"}
        for row in rows
    }


def test_every_report_is_json_when_asked(shop: Work) -> None:
    def lines(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in shop.run(*arguments, "--json", code=code).stdout.splitlines()]

    assert lines("status", code=3)[-1]["error"] == "StateError"
    assert "findings" in lines("check")[-1]
    assert lines("migrate", "--dry-run")[-1]["tables"]
    end = lines("migrate", "--until-caught-up")[-1]
    assert (end["event"], end["exit_code"], end["dead"]) == ("end", 0, 0)
    assert lines("status")[-1]["checkpoint"]["phase"] == "apply"
    assert lines("verify")[-1]["equal"] is True
    assert lines("retry-dead")[-1] == {"dead_letters": 0, "written": 0}
    shop.source.execute("DROP TABLE purchase", database=shop.database)
    error = lines("migrate", code=3)[-1]
    assert error["place"] == f"{shop.database}.purchase"
    assert set(error) == {"error", "place", "message", "hint"}


@pytest.mark.parametrize("phase", ["snapshot", "load", "apply"])
def test_ctrl_c_is_clean_and_the_same_command_goes_on(shop: Work, phase: str) -> None:
    slow = {"snapshot": "max_rows_per_second = 50", "load": "max_write_units = 20"}
    shop.source_settings = f"chunk_rows = 20\n{slow['snapshot'] if phase == 'snapshot' else ''}"
    shop.target_settings = slow["load"] if phase == "load" else ""
    shop.write_project()
    with shop.running("migrate") as process:
        shop.wait_for(shop.in_phase(phase), process)
        if phase == "apply":
            shop.wait_for(lambda: shop.checkpoint()["applied_position"], process)
    assert shop.checkpoint()["phase"] == phase
    shop.source_settings, shop.target_settings = "chunk_rows = 20", ""
    shop.write_project()
    shop.call("migrate", "--until-caught-up")
    shop.assert_equal()


def test_a_second_process_is_refused_by_name(migrated: Work) -> None:
    with migrated.running("migrate") as process:
        migrated.wait_for(lambda: (migrated.state / "lock").read_text().strip() == str(process.pid), process)
        refused = migrated.run("migrate", code=3).stderr
        assert f"another whimbrel (pid {process.pid})" in refused
        assert f"kill {process.pid}" in refused


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_and_never_shown(shop: Work) -> None:
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": SECRET}
    for command in (("migrate",), ("verify",), ("migrate", "--dry-run"), ("migrate", "--json"), ("check",)):
        result = shop.run(*command, code=2)
        assert "whimbrel" in result.stdout + result.stderr
        assert "Access denied" in result.stdout + result.stderr
        assert SECRET not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
    assert not files_with(shop, SECRET)


def test_the_password_is_in_no_output_and_in_no_file(shop: Work) -> None:
    password = shop.source.password
    for command in (("check",), ("migrate", "--until-caught-up", "--json"), ("status", "--json"), ("verify",)):
        result = shop.run(*command)
        assert password not in result.stdout + result.stderr
    assert not files_with(shop, password)
    assert any(shop.state.rglob("*.zst"))


def files_with(work: Work, secret: str) -> list[Path]:
    return [path for path in work.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_password_in_the_project_file_is_refused(shop: Work) -> None:
    file = shop.folder / "whimbrel.toml"
    file.write_text(file.read_text().replace("whimbrel@", f"whimbrel:{SECRET}@"))
    refused = shop.run("migrate", code=2).stderr
    assert "has a password in it" in refused
    assert "WHIMBREL_SOURCE_PASSWORD" in refused
    assert SECRET not in refused


def test_a_password_file_is_read(shop: Work) -> None:
    secret = shop.folder / "secret"
    secret.write_text(shop.source.password + "\n")
    secret.chmod(stat.S_IRUSR)
    shop.environment = {"WHIMBREL_SOURCE_PASSWORD": "not this one"}
    shop.source_settings = f'password_file = "{secret}"'
    shop.write_project()
    shop.call("migrate", "--until-caught-up")
    shop.assert_equal()


# -- what is wrong is named --------------------------------------------------------------------------------------------


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


# -- the source changes under it ---------------------------------------------------------------------------------------


def test_a_binlog_purged_beyond_the_position_is_an_error_that_names_both(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack)
    fill(source_server, work.database, 50)
    work.call("migrate", "--until-caught-up")
    was = work.checkpoint()["applied_position"]["file"]
    source_server.execute("INSERT INTO purchase VALUES ('lost', 'lost', 'lost', 1)", database=work.database)
    source_server.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    newest = [row[0] for row in source_server.execute("SHOW BINARY LOGS")][-1]

    def purged() -> bool:
        # In vain, and without an error, while an ended connection or a checkpoint of the server still holds a file.
        source_server.execute(f"PURGE BINARY LOGS TO '{newest}'")
        return bool(source_server.execute("SHOW BINARY LOGS")[0][0] == newest)

    work.wait_for(purged)
    told = work.call("migrate", "--until-caught-up", code=3).stderr
    assert was in told
    assert newest in told
    assert json.loads(work.call("migrate", "--json", code=3).stdout.splitlines()[-1])["error"] == "PositionLost"


STATEMENTS: dict[str, Callable[[SqlServer, Work], object]] = {
    "StatementChange": lambda server, work: server.execute(
        "SET SESSION binlog_format = STATEMENT", "UPDATE purchase SET quantity = 0", database=work.database
    ),
    "SchemaDrift": lambda server, work: server.execute(
        "ALTER TABLE purchase ADD COLUMN note INT", "UPDATE purchase SET note = 1", database=work.database
    ),
}


@pytest.mark.parametrize("error", STATEMENTS)
def test_what_cannot_be_followed_exactly_ends_the_run_by_name(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, error: str
) -> None:
    work = make_work(source_server, ministack)
    fill(source_server, work.database, 50)
    with Beside(work, "migrate", "--json") as process:
        work.wait_for(lambda: work.checkpoint()["applied_position"], process)
        before = judge.items(ministack, work.target, "customerid", "orderid")
        STATEMENTS[error](source_server, work)
        out, _ = process.communicate(timeout=60)
    said = json.loads(out.splitlines()[-1])
    assert (process.returncode, said["error"]) == (3, error)
    assert "purchase" in said["place"] + said["message"]
    assert said["hint"]
    assert judge.items(ministack, work.target, "customerid", "orderid") == before


class Beside:
    """A process that must not outlive the test."""

    def __init__(self, work: Work, *arguments: str) -> None:
        self.process = work.start(*arguments)

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_the_other_tables_of_the_source_may_change_as_they_like(migrated: Work) -> None:
    migrated.source.execute(
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "INSERT INTO other VALUES (1)",
        "ALTER TABLE other ADD COLUMN name TEXT",
        "UPDATE other SET name = 'x'",
        "TRUNCATE other",
        "DROP TABLE other",
        database=migrated.database,
    )
    migrated.source.execute("DELETE FROM purchase LIMIT 5", database=migrated.database)
    migrated.call("migrate", "--until-caught-up")
    migrated.assert_equal()


def test_two_ctrl_c_end_it_at_once(shop: Work) -> None:
    """When the target never answers, the first asks and the second does not."""
    shop.target_settings = "max_write_units = 1"
    shop.write_project()
    with Beside(shop, "migrate") as process:
        shop.wait_for(shop.in_phase("load"), process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    shop.target_settings = ""
    shop.write_project()
    shop.call("migrate", "--until-caught-up")
    shop.assert_equal()
