"""``whimbrel cutover --plan``: what it finds, that it changes nothing, and that a cutover is refused for its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import whimbrel
from tests.e2e.work import Work
from tests.handover.both_sides import Site
from tests.handover.test_cutover import cut, triggers
from whimbrel.checks.findings import KINDS


def plan(work: Work, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(work.call("cutover", "--plan", "--json", code=code).stdout.splitlines()[-1])
    return found


def codes(found: dict[str, Any]) -> dict[str, str]:
    """The reasons of the findings, by their codes."""
    lines: dict[str, list[str]] = {}
    for each in found["findings"]:
        lines.setdefault(each["code"], []).append(f"{each['place']}: {each['reason']}")
    return {code: "\n".join(reasons) for code, reasons in lines.items()}


def objects(work: Work) -> Any:
    return work.source.execute(
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{work.database}' UNION ALL "
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{work.database}'"
    )


def test_a_plan_says_what_will_happen_and_changes_nothing(shop: Work) -> None:
    before, files = objects(shop), sorted(path.name for path in shop.state.iterdir())
    found = plan(shop)
    assert set(codes(found)) == {"cutover-unheard", "cutover-no-way-back", "cutover-events"}
    assert "the account has no EVENT" in codes(found)["cutover-events"]
    assert 0 < found["stall_ms"] < 20_000
    assert (found["errors"], found["step"], found["tables"]) == (0, "FOLLOWING", [f"{shop.database}.purchase"])
    said = shop.call("cutover", "--plan").output
    assert "Ready. Nothing was done. Next: whimbrel cutover" in said
    assert "lock all tables again, see that nothing got past the fence, and decide" in said
    assert objects(shop) == before
    assert sorted(path.name for path in shop.state.iterdir()) == files


def test_errors_refuse_the_cutover_and_are_all_said(shop: Work) -> None:
    shop.source.execute("SET GLOBAL log_bin_trust_function_creators = 0")
    shop.source.execute(f"REVOKE LOCK TABLES ON *.* FROM '{shop.source.user}'@'%'")
    (shop.state / "verified.json").unlink()
    try:
        found = codes(plan(shop, code=2))
        assert f"lacks LOCK TABLES on {shop.database}.purchase" in found["cutover-privileges"]
        assert found["cutover-not-verified"] == "verification: no full verification found both sides equal"
        refused = shop.call("cutover", "--yes", code=2).output
        assert "error[NotReady]: cutover: the cutover cannot begin, and nothing was changed:" in refused
        assert "[cutover-privileges]" in refused
        assert "[cutover-not-verified]" in refused
    finally:
        shop.source.execute("SET GLOBAL log_bin_trust_function_creators = 1")
        shop.source.execute(f"GRANT LOCK TABLES ON *.* TO '{shop.source.user}'@'%'")
    assert triggers(shop) == 0
    shop.call("verify")
    assert cut(shop)["side"] == "dynamodb"


@pytest.mark.slow
def test_what_gets_past_triggers_is_found(shop: Work) -> None:
    """A cascade is found on MySQL; MariaDB's are in no binlog, and so refused by every command."""
    add = "ALTER TABLE purchase ADD CONSTRAINT bound FOREIGN KEY (productid) REFERENCES parent (id)"
    shop.source.execute(
        f"GRANT EVENT ON `{shop.database}`.* TO '{shop.source.user}'@'%'",
        "CREATE TABLE parent (id VARCHAR(20) PRIMARY KEY)",
        "INSERT INTO parent VALUES ('p1')",
        add,
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM purchase",
        database=shop.database,
    )
    try:
        found = codes(plan(shop))
        assert f"foreign key bound binds it to {shop.database}.parent" in found["cutover-bound"]
        assert found["cutover-events"] == f"{shop.database}: event nightly is enabled"
        if shop.source.flavor == "mysql":
            cascade = add.replace("bound", "acts") + " ON DELETE CASCADE"
            shop.source.execute("ALTER TABLE purchase DROP FOREIGN KEY bound", cascade, database=shop.database)
            assert "foreign key acts binds it" in codes(plan(shop, code=2))["cutover-cascade"]
    finally:
        shop.source.execute("DROP EVENT nightly", database=shop.database)


@pytest.mark.slow
def test_triggers_of_the_user_are_named(shop: Work) -> None:
    shop.source.execute(
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "CREATE TABLE purchases (id INT PRIMARY KEY)",
        "CREATE TRIGGER counts AFTER INSERT ON purchase FOR EACH ROW SET @n = 1",
        "CREATE TRIGGER writes AFTER DELETE ON other FOR EACH ROW DELETE FROM `purchase` WHERE quantity = OLD.id",
        "CREATE TRIGGER elsewhere AFTER INSERT ON other FOR EACH ROW DELETE FROM purchases",
        "CREATE TRIGGER looks BEFORE INSERT ON other FOR EACH ROW SET @n = (SELECT COUNT(*) FROM purchase)",
        database=shop.database,
    )
    found = codes(plan(shop))
    assert found["cutover-triggers"] == f"{shop.database}.purchase: AFTER INSERT: counts"
    assert found["cutover-triggered"] == f"{shop.database}.other: its trigger writes writes to {shop.database}.purchase"


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_a_trigger_from_one_table_to_another_refuses_a_way_back(site: Site) -> None:
    trigger = "CREATE TRIGGER counts AFTER INSERT ON purchase FOR EACH ROW UPDATE customer SET visits = visits + 1"
    site.work.source.execute(trigger, database=site.work.database)
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    found = codes(plan(site.work, code=2))
    assert (
        f"{site.work.database}.purchase: its trigger counts writes to {site.work.database}.customer"
        in (found["cutover-chained"])
    )
    assert "[cutover-chained]" in site.work.run("cutover", "--yes", code=2).stderr
    site.work.source.execute("DROP TRIGGER counts", database=site.work.database)
    assert site.said("cutover", "--until-open")["side"] == "dynamodb"


def test_dead_letters_and_an_old_verification_are_errors(shop: Work) -> None:
    shop.target_settings = "[cutover]\nverified_within = 0.0000001"
    shop.write_project()
    letter: dict[str, Any] = {"phase": "apply", "table": "t", "reason": "r", "source_key": {}, "item_key": None}
    line = json.dumps(letter | {"position": None, "before": None, "after": None})
    (shop.state / "dead.jsonl").write_text(f"{line}\n")
    found = codes(plan(shop, code=2))
    assert "1 dead letters" in found["cutover-dead-letters"]
    assert "the last full one is 0.0 hours old" in found["cutover-not-verified"]


def test_nothing_is_done_without_a_yes(shop: Work) -> None:
    assert "hint: Pass --yes" in shop.call("cutover", code=2).output  # there is nobody to ask
    assert not (shop.state / "handover.json").exists()


@pytest.mark.parametrize("code", [code for code in KINDS if code.startswith("cutover-")])
def test_every_finding_is_made_somewhere(code: str) -> None:
    """So that none stands in the documents alone."""
    folder = Path(whimbrel.__file__).parent
    made = [*folder.glob("handover/*.py"), *folder.glob("mysql/*.py")]
    assert any(f'"{code}"' in path.read_text() for path in made)
