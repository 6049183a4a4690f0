"""The commands as a new user meets them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from demo.shop import fill
from tests.e2e import judge
from tests.e2e.beside import Beside
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command by an interpreter that begins with it, as a person's."""
    monkeypatch.setattr("tests.forked.can_fork", lambda _environment: False)


@pytest.fixture
def shop(work: Work) -> Work:
    fill(work.source, work.database, 200)
    return work


@pytest.fixture
def migrated(shop: Work) -> Work:
    shop.call("migrate", "--until-caught-up")
    return shop


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
    assert lines("retry-dead")[-1] == {"dead_letters": 0, "written": 0, "given_up": []}
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
