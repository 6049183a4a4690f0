"""Exports that DynamoDB makes: full ones and windows without a gap, one call for each whatever happens between."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack
from tests.lake.recovery import Recovery
from tests.lake.test_shared import Shop
from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint, TableProgress
from whimbrel.dynamodb import exports
from whimbrel.lake import by_dynamodb
from whimbrel.lake.table import make_export
from whimbrel.project import load_project
from whimbrel.records import Position

FULL, INCREMENTAL = "FULL_EXPORT", "INCREMENTAL_EXPORT"


class NativeShop(Shop):
    """A Shop whose machines export through ``recovery``."""

    recovery: Recovery

    def machine(self, name: str, lake: str = "") -> Any:
        return super().machine(name, f'export = "native"\n{lake}')

    def with_recovery(self, recovery: Recovery) -> None:
        self.recovery = recovery
        for each in (self.a, self.b):
            self.through(each)

    def through(self, machine: Any) -> Any:
        """The machine's DynamoDB is the stand-in."""
        text = machine.project.read_text()
        machine.project.write_text(text.replace(f'endpoint = "{self.server.endpoint}"', self.endpoint, 1))
        return machine

    @property
    def endpoint(self) -> str:
        return f'endpoint = "{self.recovery.endpoint}"'

    def kinds(self) -> list[str]:
        return [each["ExportType"] for each in self.recovery.exports.values()]

    def windows(self) -> list[tuple[float, float]]:
        found = [each.get("IncrementalExportSpecification") for each in self.recovery.exports.values()]
        return [(each["ExportFromTime"], each["ExportToTime"]) for each in found if each]

    def converted(self) -> None:
        self.a.run("convert", self.table)
        assert self.b.rows(self.table) == self.expected()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "FIRST_LOOK", 0.005)


@pytest.fixture
def shop(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> Iterator[NativeShop]:
    made = NativeShop(tmp_path, ministack, new_table_name("native"), items=12)
    with Recovery(ministack, made.bucket.s3, made.table) as recovery:
        made.with_recovery(recovery)
        yield made


def test_a_full_export_and_windows_without_a_gap(shop: NativeShop) -> None:
    said = json.loads(shop.a.run("export", shop.table, "--json"))
    assert (said["kind"], said["items"], said["read_units_per_second"]) == ("full", 12, 0)
    shop.converted()
    shop.put(3, 333)
    shop.put(77, 77)
    shop.delete(5)
    shop.recovery.advance(60)
    said = json.loads(shop.b.run("export", shop.table, "--json"))
    assert (said["kind"], said["items"]) == ("incremental", 3)
    shop.converted()
    shop.put(3, 3)
    shop.recovery.advance(50 * 60)
    said = json.loads(shop.a.run("export", shop.table, "--json"))
    shop.converted()
    assert shop.kinds() == [FULL] + 4 * [INCREMENTAL]
    windows = shop.windows()
    assert all(end == start for (_, end), (start, _) in pairwise(windows))
    assert shop.chain() == [arn.rpartition("/")[2] for arn in shop.recovery.exports]
    assert json.loads(shop.a.run("convert", shop.table, "--json"))["gaps"] == []


def test_a_window_is_never_too_short_or_too_long(shop: NativeShop) -> None:
    shop.a.run("export", shop.table)
    shop.recovery.advance(10)
    said = shop.a.run("export", shop.table, code=2)
    assert "DynamoDB exports the changes of 15 minutes at least" in said
    shop.recovery.advance(24 * 60)
    shop.a.run("export", shop.table)
    spans = [end - start for start, end in shop.windows()]
    assert len(spans) == 2
    assert all(15 * 60 <= each <= 24 * 3600 for each in spans), spans


def test_exports_of_both_kinds_make_one_chain(shop: NativeShop) -> None:
    """By DynamoDB, by comparing, by a scan, and by DynamoDB again. The stand-in's time is that of a day long ago until
    the scan has been made.
    """
    shop.a.run("export", shop.table)
    shop.put(1, -1)
    shop.a.run("export", shop.table, "--compare")
    shop.converted()
    text = shop.a.project.read_text()
    shop.a.project.write_text(text.replace('export = "native"\n', ""))
    shop.a.run("export", shop.table, "--full")
    shop.a.project.write_text(text)
    shop.recovery.advance(0)
    shop.recovery.now = datetime.now(UTC)
    shop.recovery.advance(0)
    shop.put(3, -3)
    shop.delete(4)
    shop.recovery.advance(0)
    shop.recovery.now += timedelta(hours=1)
    shop.a.run("export", shop.table)
    assert shop.kinds() == [FULL, INCREMENTAL]
    shop.converted()


def test_recovery_is_switched_on_only_if_asked(shop: NativeShop) -> None:
    shop.recovery.on = False
    assert "point-in-time recovery is off" in shop.a.run("export", shop.table, code=2)
    assert not shop.recovery.on
    asked = shop.through(shop.machine("asked", "recovery = true\n"))
    asked.run("export", shop.table)
    assert shop.recovery.on
    shop.converted()


def test_a_window_that_has_expired_is_said_by_name(shop: NativeShop) -> None:
    shop.a.run("export", shop.table)
    shop.recovery.advance(36 * 24 * 60)
    said = shop.a.run("export", shop.table, code=2)
    assert "DynamoDB has changes since" in said
    assert "--full" in said
    shop.a.run("export", shop.table, "--full")
    shop.converted()


# What DynamoDB may answer.


def test_a_table_that_was_made_again_begins_with_a_full_export(shop: NativeShop) -> None:
    shop.a.run("export", shop.table)
    name = f"lake/exports/{shop.table}/chain.json"
    chain = json.loads(shop.bucket.get(name))
    shop.bucket.put(name, json.dumps(chain | {"table_id": "00000000-0000-0000-0000-00000000beef"}).encode())
    said = shop.b.run("export", shop.table, "--incremental", code=2)
    assert "the table was recreated after the last export" in said
    assert len(shop.recovery.exports) == 1, "nothing was paid for"
    shop.recovery.advance(60)
    shop.b.run("export", shop.table)
    assert shop.kinds() == [FULL, FULL]
    shop.converted()


def test_an_export_of_another_table_of_that_name_is_not_taken(shop: NativeShop) -> None:
    """The table was deleted and made again after it was looked at."""
    shop.recovery.id = "00000000-0000-0000-0000-00000000beef"
    assert "it is of a table with the id '00000000" in shop.a.run("export", shop.table, code=3)


def test_a_bucket_of_another_account_is_named_with_its_owner(shop: NativeShop) -> None:
    owned = shop.through(shop.machine("owned", 'bucket_owner = "444455556666"\n'))
    owned.run("export", shop.table)
    [asked] = [each["request"] for each in shop.recovery.exports.values()]
    assert asked["S3BucketOwner"] == "444455556666"
    shop.converted()


def test_what_it_refuses_for_now_is_asked_again(shop: NativeShop) -> None:
    shop.recovery.refused = {
        "ExportTableToPointInTime": ["LimitExceededException", "ThrottlingException"],
        "DescribeExport": ["ThrottlingException"],
        "DescribeContinuousBackups": ["ThrottlingException", "InternalServerError"],
    }
    shop.recovery.looks, shop.recovery.unseen = 3, 2
    shop.a.run("export", shop.table)
    assert len(shop.recovery.exports) == 1
    shop.converted()


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("ExportConflictException", 3), ("InvalidExportTimeException", 2), ("AccessDeniedException", 2)],
)
def test_what_it_refuses_ends_the_run(shop: NativeShop, code: str, exit_code: int) -> None:
    shop.recovery.refused = {"ExportTableToPointInTime": [code]}
    assert "as the test says" in shop.a.run("export", shop.table, code=exit_code)
    shop.b.run("export", shop.table)
    shop.converted()


def test_an_export_that_fails_is_said_with_its_reason_and_begun_again(shop: NativeShop) -> None:
    shop.recovery.outcome = "S3NoSuchBucket"
    assert "the export has failed: S3NoSuchBucket" in shop.a.run("export", shop.table, code=3)
    shop.recovery.outcome = ""
    shop.a.run("export", shop.table)
    assert len(shop.recovery.exports) == 2
    shop.converted()


@pytest.mark.parametrize("name", ["manifest-files.json", "manifest-summary.json", ".json.gz"])
def test_an_export_that_is_damaged_is_not_converted(shop: NativeShop, name: str) -> None:
    shop.recovery.damage = name
    code = 0 if name == ".json.gz" else 3
    shop.a.run("export", shop.table, code=code)
    if not code:
        assert "does not match the MD5" in shop.a.run("convert", shop.table, code=3)
    shop.recovery.damage = ""
    shop.recovery.advance(1)
    shop.b.run("export", shop.table, "--full")
    shop.converted()


# Whatever happens between.


@pytest.mark.parametrize("steps", [range(4, 5), pytest.param(range(1, 10), marks=pytest.mark.slow)], ids=["one", "all"])
def test_a_run_that_is_killed_asks_once(shop: NativeShop, steps: range) -> None:
    """At a write into the bucket: before and after the token, the ARN, and the chain."""
    shop.a.run("export", shop.table)
    for step in steps:
        shop.put(step, 1_000 + step)
        shop.recovery.advance(60)
        shop.a.killed(step, "export", shop.table)
        assert shop.b.call("export", shop.table).exit_code in (0, 2), "2: nothing new"
        shop.a.run("convert", shop.table)
        assert shop.a.rows(shop.table) == shop.expected()
    windows = shop.windows()
    assert all(end == start for (_, end), (start, _) in pairwise(windows))
    assert len(shop.chain()) == len(shop.recovery.exports), "no window was exported twice"


@pytest.mark.parametrize("first", [FULL, INCREMENTAL])
def test_a_renewal_that_was_killed_after_its_export_goes_on_with_that(shop: NativeShop, first: str) -> None:
    """DynamoDB exports no window as short as that since then."""
    shop.a.run("export", shop.table)
    if first == INCREMENTAL:
        shop.recovery.advance(60)
        shop.a.run("export", shop.table)
    project, asked = load_project(shop.b.project), len(shop.recovery.exports)
    again = make_export(project, shop.table, or_last=True, stop=threading.Event())
    assert (again.id, len(shop.recovery.exports)) == (shop.chain()[-1], asked)
    assert "15 minutes at least" in shop.b.run("export", shop.table, code=2)
    shop.recovery.advance(60)
    later = make_export(project, shop.table, or_last=True, stop=threading.Event())
    assert (later.id, len(shop.recovery.exports)) == (shop.chain()[-1], asked + 1)


def test_two_machines_follow_one_export(shop: NativeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = exports.begin_export, list[int]()

    def begin(*arguments: Any) -> str:
        if not other:
            other.append(0)
            other[0] = shop.b.call("export", shop.table).exit_code
        return real(*arguments)

    monkeypatch.setattr(by_dynamodb, "begin_export", begin)
    said = shop.a.run("export", shop.table, code=3)
    assert other == [0]
    assert "another process has asked DynamoDB for an export" in said
    assert len(shop.recovery.exports) == len(shop.chain()) == 1
    shop.converted()


def test_a_token_that_is_forgotten_begins_nothing_twice(shop: NativeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call was made, and the process killed before it recorded the ARN; the next run is days later."""
    monkeypatch.setattr(by_dynamodb, "followed", _killed)
    assert shop.a.call("export", shop.table).exit_code
    monkeypatch.undo()
    monkeypatch.setattr(exports, "FIRST_LOOK", 0.005)
    name = f"lake/exports/{shop.table}/asked.json"
    asked = json.loads(shop.bucket.get(name))
    shop.bucket.put(name, json.dumps(asked | {"arn": "", "at": "2026-01-01T00:00:00.000Z"}).encode())
    shop.recovery.refused = {"ListExports": ["ThrottlingException"]}
    shop.b.run("export", shop.table)
    assert len(shop.recovery.exports) == len(shop.chain()) == 1
    assert shop.recovery.counts["ListExports"] == 2, "once refused"
    shop.converted()


def test_an_export_says_what_was_applied_before_its_time(shop: NativeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known when a run begins is certain of the windows that end later: those of the next one."""
    monkeypatch.setattr(by_dynamodb, "_now", lambda: shop.recovery.now)
    text = shop.a.project.read_text()
    rule = f'source = "x.t"\ntarget = "{shop.table}"\nshape = "record"\npartition_key = {{ name = "pk" }}\n'
    shop.a.project.write_text(f'{text}[source]\nurl = "mysql://u@127.0.0.1:1/x"\n[[table]]\n{rule}')
    state = shop.a.folder / ".whimbrel"
    state.mkdir(mode=0o700)
    said = []
    for number in range(1, 4):
        tables = {"x.t": TableProgress(target_id=shop.recovery.id)}
        now = Checkpoint(phase="apply", source="s", tables=tables, applied_position=Position("b.1", number))
        checkpoint.save(state / "checkpoint.json", now)
        said.append(json.loads(shop.a.run("export", shop.table, "--json"))["position"])
        shop.put(number, -number)
        shop.recovery.advance(60)
    assert said == ["", "b.1:1", "b.1:2"]
    made = json.loads(shop.b.run("convert", shop.table, "--json"))
    assert made["position"] == "b.1:2", "another machine reads it in the bucket"
    assert len(shop.bucket.names("applied.json")) == 2
    for asked, there in (("b.1:2", 0), ("b.1:1", 0), ("b.1:0", 2)):
        shop.b.run("query", "--as-of-position", asked, f'SELECT count(*) FROM "{shop.table}"', code=there)


def _killed(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_a_native_export_needs_a_bucket(tmp_path: Path) -> None:
    from whimbrel.errors import ProjectError

    file = tmp_path / "whimbrel.toml"
    file.write_text('[lake]\nexport = "native"\n')
    with pytest.raises(ProjectError, match="DynamoDB exports into a bucket"):
        load_project(file)
