"""Chains of exports: gaps that are accepted, refused items until they are gone, and one table for one moment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from demo.servers import DynamoServer
from tests.lake.helper import change, full, write_export, write_lines
from whimbrel.cli.main import main
from whimbrel.lake import datasets
from whimbrel.lake.manifest import read_manifest
from whimbrel.lake.refused import read_refused

HOURS = [f"2026-01-14T{hour}:00:00.000Z" for hour in range(10, 20)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file = tmp_path / "whimbrel.toml"
    file.write_text('[target]\nendpoint = "http://127.0.0.1:1"\n[[dataset]]\ntable = "test"\nkey = ["pk"]\n')
    return file


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "-p", str(project), *arguments[1:]], catch_exceptions=False)


def export(project: Path, hour: int, lines: list[Any], since: int | None = None) -> None:
    root = project.parent / "lake" / "exports" / "test"
    start = HOURS[since] if since is not None else ""
    write_export(root, f"0176838500000{hour}-0000000{hour}", HOURS[hour], lines, since=start, files=1)


def put(key: str, **values: Any) -> dict[str, Any]:
    return change({"pk": {"S": key}}, values)


def gone(key: str) -> dict[str, Any]:
    return change({"pk": {"S": key}}, None)


def rows(project: Path, *arguments: str) -> dict[str, Any]:
    result = run(project, "query", "-f", "json", *arguments, "SELECT * FROM test")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.output.splitlines()]
    return {row.pop("pk"): {name: value for name, value in row.items() if value is not None} for row in found}


# --- gaps ---


def with_gap(project: Path) -> None:
    export(project, 0, [full(pk={"S": "a"}, n={"N": "1"})])
    export(project, 1, [put("b", n={"N": "2"})], since=0)
    export(project, 3, [put("c", n={"N": "3"})], since=2)


def test_a_gap_is_refused_and_may_be_accepted(project: Path) -> None:
    with_gap(project)
    result = run(project, "convert", "test")
    assert result.exit_code == 2
    assert f"the changes from {HOURS[1]} to {HOURS[2]} are in no export" in result.output
    assert "--accept-gap" in result.output
    result = run(project, "convert", "test", "--accept-gap")
    assert result.exit_code == 0
    assert f"The changes from {HOURS[1]} to {HOURS[2]} are in no export: accepted" in result.output
    assert rows(project) == {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}
    manifest = datasets.current(project.parent / "lake", "test")
    assert manifest.gaps == ((HOURS[1], HOURS[2]),)


def test_an_accepted_gap_stays_known_and_another_is_refused(project: Path) -> None:
    with_gap(project)
    assert run(project, "convert", "test", "--accept-gap").exit_code == 0
    result = run(project, "convert", "test")
    assert (result.exit_code, "accepted" in result.output) == (0, True)
    export(project, 4, [put("d", n={"N": "4"})], since=3)
    result = run(project, "convert", "test", "--json")
    assert (result.exit_code, json.loads(result.output)["gaps"]) == (0, [[HOURS[1], HOURS[2]]])
    assert run(project, "convert", "test", "--again").exit_code == 0
    export(project, 6, [put("e", n={"N": "5"})], since=5)
    result = run(project, "convert", "test")
    assert (result.exit_code, HOURS[5] in result.output) == (2, True)
    assert run(project, "convert", "test", "--accept-gap").exit_code == 0
    assert len(datasets.current(project.parent / "lake", "test").gaps) == 2
    export(project, 7, [full(pk={"S": "z"})])
    assert run(project, "convert", "test").exit_code == 0
    assert datasets.current(project.parent / "lake", "test").gaps == ()


def test_manifests_from_before_gaps_were_recorded_are_read(project: Path) -> None:
    export(project, 0, [full(pk={"S": "a"})])
    assert run(project, "convert", "test").exit_code == 0
    (path,) = (project.parent / "lake" / "datasets" / "test").glob("*/manifest.json")
    values = json.loads(path.read_text())
    del values["gaps"]
    path.write_text(json.dumps(values))
    assert read_manifest(path).gaps == ()


def test_the_exports_of_a_table_that_was_made_again_are_no_chain(project: Path) -> None:
    export(project, 0, [full(pk={"S": "a"})])
    export(project, 1, [put("b")], since=0)
    folder = project.parent / "lake/exports/test/AWSDynamoDB/01768385000001-00000001"
    text = (folder / "manifest-summary.json").read_text().replace("cf263806", "another")
    (folder / "manifest-summary.json").write_text(text)
    (folder / "manifest-summary.md5").unlink()
    result = run(project, "convert", "test", "--accept-gap")
    assert (result.exit_code, "recreated" in result.output) == (2, True)


# --- refused items ---


def test_a_refused_item_is_reported_until_it_is_gone(project: Path) -> None:
    """Refused in the base, by a bad line, and in a change; settled by a new value, a deletion, a new base."""
    lake = project.parent / "lake"
    project.write_text(project.read_text() + '[dataset.columns]\npk = "string"\nn = "int64"\n')
    base = [full(pk={"S": key}, n={"N": n}) for key, n in (("a", "1"), ("b", "1.5"), ("c", "2.5"), ("d", "4"))]
    export(project, 0, [*base, {"Item": {"pk": "bad"}}])
    result = run(project, "convert", "test")
    assert result.exit_code == 4
    assert "3 items are not in it" in result.output
    result = run(project, "convert", "test")  # nothing new
    assert result.exit_code == 4
    assert "3 items are not in it" in result.output
    assert "1.5 does not fit int64" in result.output
    assert "not one value with its type" in result.output
    assert json.loads(run(project, "convert", "test", "--json").output)["refused"] == 3

    export(project, 1, [put("a", n={"N": "9"})], since=0)  # of another key
    assert "3 items are not in it" in run(project, "convert", "test").output
    export(project, 2, [put("b", n={"N": "7"}), put("d", n={"N": "4.5"})], since=1)  # b settled, d refused now
    result = run(project, "convert", "test")
    assert (result.exit_code, "3 items are not in it" in result.output) == (4, True)
    assert "1.5 does not fit int64" not in result.output
    assert "4.5 does not fit int64" in result.output
    export(project, 3, [put("d", n={"N": "4.6"})], since=2)  # refused again: it is named once, with what it is now
    output = run(project, "convert", "test").output
    assert ("3 items are not in it" in output, "4.6 does" in output, "4.5 does" in output) == (True, True, False)
    export(project, 4, [gone("c"), gone("d")], since=3)
    result = run(project, "convert", "test")
    assert (result.exit_code, "1 items are not in it" in result.output) == (4, True)
    assert [each.line for each in read_refused(lake, datasets.current(lake, "test"))] == [5]
    assert rows(project) == {"a": {"n": 9}, "b": {"n": 7}}
    export(project, 5, [full(pk={"S": "a"})])
    result = run(project, "convert", "test")
    assert (result.exit_code, "not in it" in result.output) == (0, False)


def test_several_exports_in_one_conversion_settle_one_another(project: Path) -> None:
    project.write_text(project.read_text() + '[dataset.columns]\npk = "string"\nn = "int64"\n')
    export(project, 0, [full(pk={"S": "a"}, n={"N": "1.5"}), full(pk={"S": "b"}, n={"N": "1.5"})])
    export(project, 1, [put("a", n={"N": "1"}), put("c", n={"N": "2.5"})], since=0)
    export(project, 2, [put("c", n={"N": "2"}), put("d", n={"N": "3.5"})], since=1)
    result = run(project, "convert", "test")
    assert (result.exit_code, "2 items are not in it" in result.output) == (4, True)
    assert rows(project) == {"a": {"n": 1}, "c": {"n": 2}}


# --- one moment, one table ---


def restored(server: DynamoServer, table: str) -> dict[str, Any]:
    """As boto3 reads it."""
    found = server.client().scan(TableName=table, ConsistentRead=True)["Items"]
    plain = {item.pop("pk")["S"]: item for item in found}
    return {key: {name: int(value["N"]) for name, value in item.items()} for key, item in plain.items()}


STATES = {
    0: {"a": {"n": 1}, "b": {"n": 1}},
    1: {"a": {"n": 2}, "b": {"n": 1}, "c": {"n": 1}},
    2: {"a": {"n": 2}, "c": {"n": 1}},
    3: {"x": {"n": 1}},
    4: {"x": {"n": 1}, "a": {"n": 5}},
}


def steps(project: Path) -> list[Callable[[], None]]:
    """A chain, and a new full export with a chain of its own."""
    return [
        lambda: export(project, 0, [full(pk={"S": "a"}, n={"N": "1"}), full(pk={"S": "b"}, n={"N": "1"})]),
        lambda: export(project, 1, [put("a", n={"N": "2"}), put("c", n={"N": "1"})], since=0),
        lambda: export(project, 2, [gone("b")], since=1),
        lambda: export(project, 3, [full(pk={"S": "x"}, n={"N": "1"})]),
        lambda: export(project, 4, [put("a", n={"N": "5"})], since=3),
    ]


@pytest.mark.parametrize(
    "converted",
    ["each time", *(pytest.param(each, marks=pytest.mark.slow) for each in ("at the end", "never before"))],
)
def test_query_and_restore_as_of_one_moment_give_the_same_table(
    project: Path, ministack: DynamoServer, new_table_name: Callable[[str], str], converted: str
) -> None:
    """Between two exports too. Where a data set of the moment is not there, it can be made."""
    project.write_text(project.read_text().replace("http://127.0.0.1:1", ministack.endpoint) + "[lake]\nkeep = 50\n")
    for step in steps(project):
        step()
        if converted == "each time":
            assert run(project, "convert", "test").exit_code == 0
    if converted == "at the end":
        assert run(project, "convert", "test").exit_code == 0
    for state, wanted in STATES.items():
        for moment in (HOURS[state], HOURS[state].replace(":00:00.000Z", ":30:00Z")):
            asked = run(project, "query", "--as-of", moment, "SELECT * FROM test")
            if asked.exit_code:
                assert converted != "each time"
                assert run(project, "convert", "test", "--as-of", moment).exit_code == 0
            assert rows(project, "--as-of", moment) == wanted
        name = new_table_name("restored")
        again = run(project, "restore", "test", "--as-of", HOURS[state], "--into", name, "--key", "pk:S")
        assert again.exit_code == 0, again.output
        assert restored(ministack, name) == wanted
    if converted != "never before":
        assert rows(project) == STATES[4]


def test_a_data_set_that_is_older_than_the_exports_is_not_given_for_the_moment(project: Path) -> None:
    first, second, *_ = steps(project)
    first()
    assert run(project, "convert", "test").exit_code == 0
    second()
    result = run(project, "query", "--as-of", HOURS[2], "SELECT * FROM test")
    assert result.exit_code == 2
    assert f"whimbrel convert test --as-of {HOURS[1]}" in result.output
    assert rows(project, "--as-of", HOURS[0].replace(":00:00", ":20:00")) == STATES[0]
    assert rows(project) == STATES[0]  # the current one, as it was converted last


def test_a_data_set_beside_the_current_one_changes_nothing_else(project: Path) -> None:
    for step in steps(project):
        step()
    assert run(project, "convert", "test").exit_code == 0
    pinned = project.read_text()
    assert run(project, "convert", "test", "--as-of", HOURS[1]).exit_code == 0
    assert rows(project) == STATES[4]
    assert project.read_text() == pinned
    result = run(project, "convert", "test")
    assert (result.exit_code, "Nothing new" in result.output) == (0, True)
    for wrong in (["--csv"], ["--from", str(write_lines(project.parent / "x.json", [full(pk={"S": "1"})]))]):
        assert run(project, "convert", "test", "--as-of", HOURS[1], *wrong).exit_code == 2
    result = run(project, "convert", "test", "--as-of", "2020-01-01")
    assert (result.exit_code, "there is no export as of" in result.output) == (2, True)


# --- letter case ---


def test_attributes_that_differ_by_letter_case_are_reported_with_both_names(project: Path) -> None:
    item = full(pk={"S": "1"}, name={"S": "x"}, Name={"S": "y"}, m={"M": {"a": {"S": "1"}, "A": {"S": "2"}}})
    file = write_lines(project.parent / "data.json", [item])
    result = run(project, "convert", "test", "--from", str(file))
    assert "'Name' (column 'Name') and 'name' (column 'name_2') differ by letter case only" in result.output or (
        "'Name' (column 'Name_2') and 'name' (column 'name') differ by letter case only" in result.output
    )
    assert "'m.A' and 'm.a' differ by letter case only" in result.output
    found = json.loads(run(project, "convert", "test", "--from", str(file), "--json").output)
    assert ["Name", "name"] in found["alike"]
    row = json.loads(run(project, "query", "-f", "json", "SELECT * FROM test").output)
    assert sorted(value for value in row.values() if value in ("x", "y")) == ["x", "y"]
    assert json.loads(row["m"]) == {"M": {"a": {"S": "1"}, "A": {"S": "2"}}}


def test_data_sets_that_differ_by_letter_case_are_named(project: Path) -> None:
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 0
    before = project.read_text()
    result = run(project, "convert", "Test", "--from", str(file))
    assert (result.exit_code, "'test'" in result.output, "Test" in result.output) == (2, True, True)
    assert project.read_text() == before
    lake = project.parent / "lake" / "datasets"
    shutil.copytree(lake / "test", lake / "TEST")  # from a lake of before
    assert run(project, "query", "-f", "csv", "SELECT pk FROM test").exit_code == 0
    shutil.rmtree(lake / "TEST")
    assert run(project, "query", "-f", "csv", "SELECT pk FROM test").output.split() == ["pk", "1"]
