"""Tables as nobody expects them: exported, exported again, converted and restored, in a folder and in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo.servers import Dynalite, Ministack
from tests.conftest import unique
from tests.lake.machines import Bucketed, Machine
from whimbrel.cli.frame import DEAD_LETTERS
from whimbrel.lake import fold

pytestmark = pytest.mark.slow

Items = list[dict[str, Any]]
LONG = {"S": "x" * 380_000}


def item(key: str, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": key}, **more}


ODD_NAMES = ["a.b", "a b", 'q"q', "it's", "é", "😀", "#", ":v", "\\", "SELECT", "row", "path", "latest", "x\ny"]
STATES: dict[str, list[Items]] = {
    "empty, filled, empty, filled": [[], [item("a", n={"N": "1"}), item("b")], [], [item("a", n={"N": "2"})]],
    "all deleted": [[item("a", n={"N": "1"}), item("b", n={"N": "2"})], [], []],
    "only keys": [[item("a"), item("b")], [item("b"), item("c")], [item("c")]],
    "other types": [
        [item("a", v={"S": "x"}), item("b", v={"S": "y"})],
        [item("a", v={"N": "1"}), item("b", v={"S": "y"})],
        [item("a", v={"M": {"x": {"L": [{"NULL": True}]}}}), item("b", v={"N": "1.5"})],
        [item("a", v={"SS": ["1"]}), item("b", v={"BOOL": True})],
        [item("a", v={"B": "AQ=="}), item("b")],
    ],
    "numbers that grow": [
        [item("a", v={"N": "1"})],
        [item("a", v={"N": "1.5"}), item("b", v={"N": "9" * 38})],
        [item("a", v={"N": "1e100"}), item("b", v={"N": "-0.000001"})],
    ],
    "large items": [[item("a", v=LONG), item("b", v=LONG)], [item("a", v=LONG, w={"N": "1"}), item("c", v=LONG)]],
    "names": [
        [item("a", **{name: {"S": name} for name in ODD_NAMES})],
        [item("a", **{name: {"N": "1"} for name in ODD_NAMES}), item("b", **{ODD_NAMES[5]: {"S": "new"}})],
    ],
}


@pytest.fixture(params=["folder", "S3"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, dynalite: Dynalite, ministack: Ministack) -> Machine:
    if request.param == "S3":
        return Bucketed(ministack).machine(tmp_path / "machine", dynalite)
    (tmp_path / "whimbrel.toml").write_text(f'[target]\nendpoint = "{dynalite.endpoint}"\nregion = "us-east-1"\n')
    return Machine(tmp_path)


@pytest.mark.parametrize("case", STATES)
def test_odd_tables(machine: Machine, dynalite: Dynalite, case: str) -> None:
    check(machine, dynalite, STATES[case], ("pk",))


@pytest.mark.parametrize("name", ["row", "_sequence", "a.b", 'é"'])
def test_odd_keys(machine: Machine, dynalite: Dynalite, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MOST_DELTAS", 1)

    def made(*numbers: int, **more: Any) -> Items:
        return [{name: {"S": str(number)}, "sk": {"N": str(number)}, **more} for number in numbers]

    states = [made(1, 2, 3, 4), made(1, 2, 3, 4, 5, x={"N": "1"}), made(1, 2), made(1, 2, y={"S": "1"}), made(2, 3)]
    check(machine, dynalite, states, (name, "sk"))


def check(machine: Machine, server: Dynalite, states: list[Items], key: tuple[str, ...]) -> None:
    client, table = server.client(), unique("odd")
    types = ["S", "N"][: len(key)]
    client.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in zip(key, types, strict=True)],
        KeySchema=[{"AttributeName": n, "KeyType": r} for n, r in zip(key, ("HASH", "RANGE"), strict=False)],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table)
    for number, items in enumerate(states):
        for each in client.scan(TableName=table)["Items"]:
            client.delete_item(TableName=table, Key={name: each[name] for name in key})
        for each in items:
            client.put_item(TableName=table, Item=each)
        machine.run("export", table, *(["--compare"] if number else []))
        made = machine.call("convert", table)
        if made.exit_code == DEAD_LETTERS:  # the types are pinned, and a value does not fit
            assert "does not fit" in made.output
            made = machine.call("convert", table, "--again")
        if "there are no items" in made.output:
            assert not any(states[: number + 1])
        else:
            assert made.exit_code == 0, made.output
            said = machine.run("query", "-f", "json", f'SELECT count(*) AS n FROM "{table}"')
            assert said.strip() == f'{{"n":{len(items)}}}', said
        into = unique("restored")
        machine.run("restore", table, "--into", into)
        assert scanned(client, into, key) == scanned(client, table, key)


def scanned(client: Any, table: str, key: tuple[str, ...]) -> list[Any]:
    found = client.scan(TableName=table, ConsistentRead=True)["Items"]
    return sorted(found, key=lambda each: [str(each[name]) for name in key])
