"""Dead letters are accepted each by name, there and back: whatever was not named still stands in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.work import Work
from tests.handover.both_sides import Site
from tests.handover.test_cutover import step
from tests.handover.test_plan import codes, plan
from whimbrel.errors import StateError, UserError
from whimbrel.handover.cutting import Cutting
from whimbrel.migration.waivers import Waivers, read_waivers


def letter(work: Work, order: str) -> None:
    """A row that no attribute can have the name of, so that its item lacks it."""
    work.source.execute(f"INSERT INTO purchase VALUES ('dead', '{order}', '', 1)", database=work.database)
    work.call("migrate", "--until-caught-up", code=4)


def waive(work: Work) -> str:
    (work.folder / "accepted.jsonl").write_bytes((work.state / "dead.jsonl").read_bytes())
    return str(work.folder / "accepted.jsonl")


def a_letter(**values: Any) -> dict[str, Any]:
    plain = {"phase": "apply", "table": "shop.t", "reason": "r", "source_key": {"id": 1}, "item_key": {"k": {"S": "1"}}}
    return plain | {"position": "bin.1:4", "before": None, "after": None, "time": "now"} | values


def test_a_line_waives_that_letter_alone() -> None:
    """A later change of the row, another reason or another row is another letter; when it was written is not."""
    waivers = Waivers([a_letter()])
    assert not list(waivers.left([a_letter(time="later", phase="retry")]))
    others = [
        a_letter(position="bin.1:9"),
        a_letter(reason="another"),
        a_letter(source_key={"id": 2}),
        a_letter(item_key={"k": {"S": "2"}}),
        a_letter(table="shop.u"),
    ]
    assert list(waivers.left([a_letter(), *others])) == others
    assert waivers.has_item(["shop.t"], {"k": {"S": "1"}})
    assert not waivers.has_item(["shop.u"], {"k": {"S": "1"}})
    assert waivers.has_row("shop.t", {"id": 1})
    assert not waivers.has_row("shop.t", {"id": 2})


@pytest.mark.slow
def test_a_dead_letter_is_accepted_by_name_and_no_other(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    letter(shop, "o1")
    assert f"1 dead letters: {shop.database}.purchase" in codes(plan(shop, code=2))["cutover-dead-letters"]
    named = ["--waive-dead-letters", waive(shop)]
    assert shop.call("verify", code=5)
    assert "1 items of dead letters differ, and are waived" in shop.call("verify", *named).output
    assert "[cutover-dead-letters]" in shop.call("cutover", "--yes", code=2).output
    real = Cutting._pause

    def another(cutting: Cutting) -> None:
        """After the plan, and before writes are closed."""
        shop.source.execute("INSERT INTO purchase VALUES ('dead', 'o2', '', 1)", database=shop.database)
        real(cutting)

    with monkeypatch.context() as patch:
        patch.setattr(Cutting, "_pause", another)
        said = shop.call("cutover", "--yes", *named, code=3).output
    assert "error[CutoverUndone]: " in said
    assert step(shop) == "FOLLOWING"
    shop.source.execute("DELETE FROM purchase WHERE orderid = 'o2'", database=shop.database)
    shop.call("migrate", "--until-caught-up", code=4)
    shop.call("retry-dead", code=4)  # which writes what is left again, and so it must be accepted again
    waive(shop)
    done: dict[str, Any] = json.loads(shop.run("cutover", "--yes", "--json", *named).stdout.splitlines()[-1])
    assert [each["source_key"]["orderid"] for each in done["waived"]] == ["o1"]
    shop.run("finish", "--yes")
    report = json.loads((shop.state / "finished.json").read_text())
    assert [each["source_key"]["orderid"] for each in report["waived"]] == ["o1"]


def test_a_file_that_is_missing_or_of_something_else_waives_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_waivers(tmp_path / "none")
    (tmp_path / "other").write_text("[]\n")
    with pytest.raises(StateError, match="not a dead-letter file"):
        read_waivers(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_an_item_that_does_not_come_back_is_accepted_by_name_and_no_other(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")

    def put(name: str) -> None:
        item = {"customerid": {"S": name}, "name": {"S": name}, "visits": {"S": "many"}}
        site.client.put_item(TableName=site.settings.customer, Item=item)

    dead, accepted = site.work.state / "reverse-dead.jsonl", site.work.folder / "accepted.jsonl"
    put("one")
    assert "1 items could not be written back" in site.work.run("rollback", "--yes", code=3).stderr
    accepted.write_bytes(dead.read_bytes())
    put("two")
    said = site.work.run("rollback", "--yes", "--waive-dead-letters", "accepted.jsonl", code=3).stderr
    assert "1 items could not be written back" in said
    assert '"two"' in said
    accepted.write_bytes(dead.read_bytes())
    done = site.said("rollback", "--waive-dead-letters", "accepted.jsonl")
    assert (done["side"], len(done["waived"])) == ("mysql", 2)
    for name in ("one", "two"):
        site.client.delete_item(TableName=site.settings.customer, Key={"customerid": {"S": name}})
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")
    assert json.loads(site.work.run("status", "--json").stdout)["way_back"]["dead_letters"] == 0
