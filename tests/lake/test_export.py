"""Exports of live tables: the layout to the byte, resuming, the read cap, streams."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import DynamoServer, Ministack
from whimbrel.errors import LogGone, Stopped, UserError
from whimbrel.lake import changes
from whimbrel.lake import export as exporting
from whimbrel.lake.chain_file import home, load_chain
from whimbrel.lake.changes import export_changes
from whimbrel.lake.convert import ConvertRules, from_exports
from whimbrel.lake.datasets import arrow, current
from whimbrel.lake.export import ReadLimits, export_full, facts, prune, read_limits
from whimbrel.lake.native import DataWriter, find_exports

SMALL = ReadLimits(segments=4)


def new_table(server: DynamoServer, name: str, items: int, stream: str = "") -> Any:
    client = server.client()
    more: dict[str, Any] = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": stream}} if stream else {}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    for number in range(items):
        client.put_item(TableName=name, Item=key(number) | {"n": {"N": str(number)}})
    return client


def key(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"k{number}"}, "sk": {"N": str(number)}}


@pytest.fixture(params=["ministack", pytest.param("dynalite", marks=pytest.mark.slow)])
def table(request: pytest.FixtureRequest, new_table_name: Callable[[str], str]) -> tuple[DynamoServer, str, Any]:
    server: DynamoServer = request.getfixturevalue(request.param)
    name = new_table_name("export")
    return server, name, new_table(server, name, 40)


def numbers(lake: Path, table: str) -> dict[str, Any]:
    from_exports(lake, ConvertRules(table, table, ("pk", "sk")), find_exports(home(lake, table)))
    return {row["pk"]: row["n"] for row in arrow(lake, current(lake, table)).to_pylist()}


def test_the_layout_is_that_of_the_native_export(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    server, name, _ = table
    made = export_full(server.target(), tmp_path, facts(server.target(), name), SMALL)
    assert re.fullmatch(r"\d{14}-[0-9a-f]{8}", made.id)
    summary_file = made.folder / "manifest-summary.json"
    summary = json.loads(summary_file.read_bytes())
    assert list(summary) == [
        *("version", "exportArn", "startTime", "endTime", "tableArn", "tableId", "exportTime", "s3Bucket", "s3Prefix"),
        *("s3SseAlgorithm", "s3SseKmsKeyId", "manifestFilesS3Key", "billedSizeBytes", "itemCount", "outputFormat"),
    ]
    assert (summary["itemCount"], summary["outputFormat"]) == (40, "DYNAMODB_JSON")
    for file in ("manifest-summary", "manifest-files"):
        content = (made.folder / f"{file}.json").read_bytes()
        digest = base64.b64encode(hashlib.md5(content).digest())
        assert (made.folder / f"{file}.md5").read_bytes() == digest
        assert content.endswith(b"}\n") == (file == "manifest-files")
    found = []
    for line in (made.folder / "manifest-files.json").read_text().splitlines():
        entry = json.loads(line)
        assert re.fullmatch(rf"AWSDynamoDB/{made.id}/data/[a-z2-7]{{26}}\.json\.gz", entry["dataFileS3Key"])
        packed = (home(tmp_path, name) / entry["dataFileS3Key"]).read_bytes()
        md5 = hashlib.md5(packed).digest()
        assert entry["md5Checksum"] == base64.b64encode(md5).decode()
        assert entry["etag"] == hashlib.md5(md5).hexdigest() + "-1"
        lines = gzip.decompress(packed).splitlines()
        assert len(lines) == entry["itemCount"]
        found += [json.loads(each)["Item"] for each in lines]
    assert sorted(each["pk"]["S"] for each in found) == sorted(f"k{number}" for number in range(40))
    assert (made.folder / "_started").read_bytes() == b""


def test_an_item_keeps_the_order_of_its_attributes(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    """A data set has its columns, and a model its inputs, in the order in which they are first seen."""
    server, name, client = table
    client.put_item(TableName=name, Item=key(0) | {"zeta": {"N": "1"}, "alpha": {"S": "a"}})
    [seen] = [item for item in client.scan(TableName=name)["Items"] if "zeta" in item]
    made = export_full(server.target(), tmp_path, facts(server.target(), name), SMALL)
    lines = [gzip.decompress(file.read_bytes()) for file in (made.folder / "data").iterdir()]
    [line] = [line for text in lines for line in text.splitlines() if b"zeta" in line]
    assert list(json.loads(line)["Item"]) == list(seen) != sorted(seen)


def test_a_stopped_export_goes_on(table: tuple[DynamoServer, str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    server, name, _ = table
    about = facts(server.target(), name)
    stop, real, asked = threading.Event(), exporting.scan_segment, []  # type: ignore[attr-defined]

    def read(calls: Any, table: str, segment: int, *rest: Any, **more: Any) -> Any:
        asked.append(segment)
        if segment == 3:
            deadline = time.monotonic() + 20
            while len(done()) < 3 and time.monotonic() < deadline:
                time.sleep(0.005)
            stop.set()
        return real(calls, table, segment, *rest, **more)

    def done() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((home(tmp_path, name) / "unfinished.json").read_bytes())["done"]
        return found

    monkeypatch.setattr(exporting, "scan_segment", read)
    with pytest.raises(Stopped):
        export_full(server.target(), tmp_path, about, SMALL, stop=stop)
    assert set(done()) == {"0", "1", "2"}
    assert find_exports(home(tmp_path, name)) == []
    asked.clear()
    made = export_full(server.target(), tmp_path, about, SMALL)
    assert asked == [3]
    assert made.items == 40
    assert len(numbers(tmp_path, name)) == 40
    assert not list(made.folder.glob("data/*.part"))


def test_an_export_that_was_killed_goes_on(
    ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path
) -> None:
    name = new_table_name("killed")
    new_table(ministack, name, 40)
    project = tmp_path / "whimbrel.toml"
    target = f'[target]\nendpoint = "{ministack.endpoint}"\nregion = "us-east-1"\n'
    project.write_text(target + "[lake]\nsegments = 12\nmax_read_units = 4\n")  # a segment takes an eighth of a second
    export = [sys.executable, "-m", "whimbrel", "export", name]
    unfinished = home(tmp_path / "lake", name) / "unfinished.json"
    with subprocess.Popen(export, cwd=tmp_path) as process:
        while not (unfinished.exists() and len(json.loads(unfinished.read_bytes())["done"]) >= 3):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    done = json.loads(unfinished.read_bytes())["done"].values()
    assert 3 <= len(done) < 12
    project.write_text(target)
    assert subprocess.run(export, cwd=tmp_path, check=False).returncode == 0
    [made] = find_exports(home(tmp_path / "lake", name))
    assert {each.key for each in made.files} >= {key for _items, _md5, _etag, key in done}
    assert made.items == 40
    assert len(numbers(tmp_path / "lake", name)) == 40
    assert {path.name for path in made.folder.glob("data/*")} == {path.name for path in made.paths}


def test_a_full_disk_leaves_nothing_of_a_file(tmp_path: Path) -> None:
    part = tmp_path / "data.json.gz.part"
    part.symlink_to("/dev/full")
    writer = DataWriter(tmp_path / "data.json.gz", "data/data.json.gz")
    writer.write([b"a line"])  # kept until there is more
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_the_read_cap_holds(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    server, name, _ = table
    about = facts(server.target(), name)
    begun = time.monotonic()
    export_full(server.target(), tmp_path, about, ReadLimits(units=10, segments=16))
    assert time.monotonic() - begun >= 16 * 0.5 / 10 - 0.2  # each segment's page costs half a unit or more
    assert read_limits(about, 0.5, 100, 0, False).units == 100
    assert read_limits(about, 0.25, 0, 0, False).units == about.units / 4


def test_changes_by_comparing(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    server, name, client = table
    about, target = facts(server.target(), name), server.target()
    with pytest.raises(UserError, match="no full export yet"):
        export_changes(target, tmp_path, about, SMALL)
    export_full(target, tmp_path, about, SMALL)
    client.put_item(TableName=name, Item=key(1) | {"n": {"N": "-1"}})
    client.put_item(TableName=name, Item=key(2) | {"n": {"N": "2.0"}})  # the same number: no change
    client.delete_item(TableName=name, Key=key(3))
    client.put_item(TableName=name, Item=key(99) | {"n": {"N": "99"}})
    made = export_changes(target, tmp_path, about, SMALL, method="compare")
    lines = [json.loads(line) for path in made.paths for line in gzip.decompress(path.read_bytes()).splitlines()]
    found = {line["Keys"]["pk"]["S"]: line for line in lines}
    assert {each: [part for part in line if part not in ("Metadata", "Keys")] for each, line in found.items()} == {
        "k1": ["OldImage", "NewImage"],
        "k3": ["OldImage"],
        "k99": ["NewImage"],
    }
    assert list(found["k1"]) == ["Metadata", "Keys", "OldImage", "NewImage"]
    assert (made.kind, made.since) == ("INCREMENTAL_EXPORT", find_exports(home(tmp_path, name))[0].as_of)
    assert export_changes(target, tmp_path, about, SMALL, method="compare").items == 0
    client.delete_item(TableName=name, Key=key(99))
    assert export_changes(target, tmp_path, about, SMALL, method="compare").items == 1
    wanted = {f"k{number}": number for number in range(40) if number != 3} | {"k1": -1}
    assert numbers(tmp_path, name) == wanted
    assert not list(home(tmp_path, name).rglob("*.part"))


def test_changes_from_the_stream(ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path) -> None:
    name = new_table_name("stream")
    client = new_table(ministack, name, 5, "NEW_AND_OLD_IMAGES")
    target = ministack.target()
    about = facts(target, name)
    export_full(target, tmp_path, about, SMALL)
    client.put_item(TableName=name, Item=key(1) | {"n": {"N": "-1"}, "b": {"B": b"\x00\xff"}})
    client.put_item(TableName=name, Item=key(7) | {"n": {"N": "7"}})
    client.delete_item(TableName=name, Key=key(7))
    client.delete_item(TableName=name, Key=key(2))
    export_changes(target, tmp_path, about, SMALL, method="stream")
    assert numbers(tmp_path, name) == {"k0": 0, "k1": -1, "k3": 3, "k4": 4}
    client.put_item(TableName=name, Item=key(8) | {"n": {"N": "8"}})
    later = export_changes(target, tmp_path, about, SMALL)  # a stream is the first choice, and goes on where it was
    assert later.items == 1
    assert numbers(tmp_path, name) == {"k0": 0, "k1": -1, "k3": 3, "k4": 4, "k8": 8}
    chain = load_chain(home(tmp_path, name))
    assert chain
    assert chain.positions


def test_a_stream_that_has_forgotten_is_no_end(
    ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(*_: Any) -> Any:
        raise LogGone("the stream has forgotten the changes asked for")

    name, target = new_table_name("stream"), ministack.target()
    client = new_table(ministack, name, 3, "NEW_IMAGE")
    about = facts(target, name)
    export_full(target, tmp_path, about, SMALL)
    client.delete_item(TableName=name, Key=key(2))
    monkeypatch.setattr(changes, "read_stream", forgotten)
    with pytest.raises(LogGone):
        export_changes(target, tmp_path, about, SMALL, method="stream")
    assert export_changes(target, tmp_path, about, SMALL).items == 1
    assert numbers(tmp_path, name) == {"k0": 0, "k1": 1}


def test_without_a_stream_asking_for_it_is_an_error(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    server, name, _ = table
    about = facts(server.target(), name)
    export_full(server.target(), tmp_path, about, SMALL)
    with pytest.raises(UserError, match="the table has no stream"):
        export_changes(server.target(), tmp_path, about, SMALL, method="stream")


def test_old_exports_go(table: tuple[DynamoServer, str, Any], tmp_path: Path) -> None:
    server, name, client = table
    about, target = facts(server.target(), name), server.target()
    first = export_full(target, tmp_path, about, SMALL)
    client.delete_item(TableName=name, Key=key(0))
    change = export_changes(target, tmp_path, about, SMALL, method="compare")
    export_full(target, tmp_path, about, SMALL)
    assert prune(tmp_path, name, 2) == []
    assert prune(tmp_path, name, 1) == [first.id, change.id]
    assert not any(path.exists() for path in (*first.paths, *change.paths))
    assert len(numbers(tmp_path, name)) == 39
