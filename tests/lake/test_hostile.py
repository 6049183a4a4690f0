"""Exports and names that somebody made to do harm, or that were damaged: nothing outside is read or written, memory is
bounded, and each bad line is named; never a traceback, never a line that is missing without a word.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.lake.helper import compact, full, write_export, write_lines
from whimbrel.cli.main import main
from whimbrel.errors import StateError, UserError
from whimbrel.lake import datasets
from whimbrel.lake.bucket import fetch
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.native import find_exports
from whimbrel.lake.sources import find
from whimbrel.project import Target

RULES = ConvertRules("test", "test", ("pk",))
SECRET = {"Item": {"pk": {"S": "secret"}}}
FULL_ID, LATER_ID = "01768385000000-00000000", "01768385600000-00000001"
NOON, ONE = "2026-01-14T12:00:00.000Z", "2026-01-14T13:00:00.000Z"


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "-p", str(project), *arguments[1:]], catch_exceptions=False)


def packed(line: dict[str, Any]) -> bytes:
    return gzip.compress(compact(line) + b"\n", mtime=0)


def rewrite_manifest(folder: Path, entries: list[dict[str, Any]], **summary: Any) -> None:
    """Both manifests, with checksums that fit: a hostile export is a sound one in every other respect."""
    listed = b"".join(compact(entry) + b"\n" for entry in entries)
    old = json.loads((folder / "manifest-summary.json").read_bytes())
    for name, content in (("manifest-files", listed), ("manifest-summary", compact(old | summary))):
        (folder / f"{name}.json").write_bytes(content)
        (folder / f"{name}.md5").write_bytes(base64.b64encode(hashlib.md5(content).digest()))


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest-files.json").read_bytes().splitlines()]


def export_of_one(root: Path) -> Path:
    return write_export(root, FULL_ID, NOON, [SECRET], files=1)


OUTSIDE = [
    "../../../../secret.json.gz",
    "AWSDynamoDB/../../../secret.json.gz",
    "AWSDynamoDB/{id}/data/../../../../secret.json.gz",
    "{outside}/secret.json.gz",
    "/secret.json.gz",
    "AWSDynamoDB/{id}/data/..",
    "..",
    "",
    "data/",
    "AWSDynamoDB/{id}/data/a\0b",
    "AWSDynamoDB/{id}/data/%2e%2e%2f%2e%2e%2fsecret.json.gz",
    "awsdynamodb/{id}/DATA/SECRET.JSON.GZ",
    "AWSDynamoDB/{id}/data/" + "x" * 300,
]


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_manifest_names_no_file_outside_of_its_export(tmp_path: Path, key: str) -> None:
    """The file outside is a good one, with the right checksum."""
    outside = tmp_path / "secret.json.gz"
    outside.write_bytes(packed(SECRET))
    folder = export_of_one(tmp_path / "exports" / "deep")
    for path in (folder / "data").iterdir():
        path.unlink()
    md5 = base64.b64encode(hashlib.md5(outside.read_bytes()).digest()).decode()
    named = key.format(id=FULL_ID, outside=tmp_path)
    rewrite_manifest(folder, [{"itemCount": 1, "md5Checksum": md5, "etag": "", "dataFileS3Key": named}])
    with pytest.raises(StateError):
        find_exports(tmp_path / "exports")


def link_file(folder: Path, outside: Path) -> None:
    (data,) = (folder / "data").iterdir()
    (outside / data.name).write_bytes(data.read_bytes())
    data.unlink()
    data.symlink_to(outside / data.name)


def link_folder(folder: Path, outside: Path) -> None:
    (folder / "data").rename(outside / "data")
    (folder / "data").symlink_to(outside / "data")


def link_export(folder: Path, outside: Path) -> None:
    folder.rename(outside / folder.name)
    folder.symlink_to(outside / folder.name)


def link_manifest(folder: Path, outside: Path) -> None:
    (folder / "manifest-files.json").rename(outside / "m")
    (folder / "manifest-files.json").symlink_to(outside / "m")


def link_loop(folder: Path, outside: Path) -> None:
    (data,) = (folder / "data").iterdir()
    data.unlink()
    data.symlink_to(data.name)


def fifo(folder: Path, outside: Path) -> None:
    (data,) = (folder / "data").iterdir()
    data.unlink()
    os.mkfifo(data)


def fifo_manifest(folder: Path, outside: Path) -> None:
    (folder / "manifest-summary.json").unlink()
    os.mkfifo(folder / "manifest-summary.json")


def device(folder: Path, outside: Path) -> None:
    (data,) = (folder / "data").iterdir()
    data.unlink()
    data.symlink_to("/dev/zero")


def directory(folder: Path, outside: Path) -> None:
    (data,) = (folder / "data").iterdir()
    data.unlink()
    data.mkdir()


@pytest.mark.parametrize(
    "harm",
    [link_file, link_folder, link_export, link_manifest, link_loop, fifo, fifo_manifest, device, directory],
)
def test_links_and_special_files_in_an_export_are_refused(tmp_path: Path, harm: Callable[[Path, Path], None]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    harm(export_of_one(tmp_path / "exports"), outside)
    with pytest.raises(StateError):
        find_exports(tmp_path / "exports")


def test_a_folder_that_is_a_link_may_be_named_by_the_person(tmp_path: Path) -> None:
    export_of_one(tmp_path / "exports")
    (tmp_path / "here").symlink_to(tmp_path / "exports")
    assert find_exports(tmp_path / "here")[0].items == 1


@pytest.mark.parametrize("harm", ["link", "fifo", "manifest", "manifest-dots", "twice", "folder"])
def test_loose_files_are_in_their_folder(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    write_lines(folder / "a", [{"pk": {"S": "1"}}])
    write_lines(tmp_path / "secret", [{"pk": {"S": "secret"}}])
    named = {"manifest": ["s3://b/p/l"], "manifest-dots": ["s3://b/p/.."], "twice": ["s3://b/p/a", "s3://b/q/a"]}
    if harm == "fifo":
        os.mkfifo(folder / "f")
    elif harm == "folder":
        (folder / "deeper").mkdir()
    else:
        (folder / "l").symlink_to(tmp_path / "secret")
    if harm in named:
        found = [{"url": url, "mandatory": True} for url in named[harm]]
        (folder / "manifest").write_text(json.dumps({"name": "DynamoDB-export", "version": 3, "entries": found}))
    with pytest.raises((StateError, UserError)):
        find(folder)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "a\0b", "", "nowhere"])
def test_a_place_that_is_no_export_is_a_users_mistake(project: Path, place: str) -> None:
    result = run(project, "convert", "test", "--from", place) if place else run(project, "convert", "test")
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("name", ["../../x", "..", ".", "/tmp/x", "a/b", "a\nb", "x" * 201, ".hidden", "a\0"])
@pytest.mark.parametrize("command", ["convert", "restore"])
def test_a_name_is_no_path(project: Path, name: str, command: str) -> None:
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    before = sorted(project.parent.parent.rglob("*"))
    result = run(project, command, name, "--from", str(file), *(["--key", "pk:S"] if command == "restore" else []))
    assert result.exit_code == 2
    assert "cannot be the name of a folder" in result.output
    assert sorted(project.parent.parent.rglob("*")) == before


def test_a_data_set_cannot_have_the_name_of_a_path(project: Path) -> None:
    project.write_text(project.read_text() + '[[dataset]]\ntable = "test"\nname = "../../../x"\n')
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    result = run(project, "convert", "test", "--from", str(file))
    assert (result.exit_code, "cannot be the name" in result.output) == (2, True)


def test_a_manifest_of_a_data_set_names_no_file_outside(project: Path) -> None:
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 0
    lake = project.parent / "lake"
    (path,) = (lake / "datasets" / "test").glob("*/manifest.json")
    text = path.read_text()
    for wrong in ("../../x.parquet", "/tmp/x.parquet", "../x.parquet", "x"):
        values = json.loads(text)
        values["files"][0]["path"] = wrong
        path.write_text(json.dumps(values))
        assert run(project, "query", "SELECT * FROM test").exit_code == 3
    path.write_text(text)
    (lake / "datasets" / "test" / "current.json").write_text('{"id": "../../.."}')
    assert run(project, "query", "SELECT * FROM test").exit_code == 3


def test_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    """DuckDB would take it for one, and read the files beside it too."""
    for name in ("a.json", "ab.json", "a[b].json"):
        write_lines(tmp_path / name, map(compact, [full(pk={"S": name}) for _ in range(300)]))
    for name in ("a*.json", "a[b].json", "a?.json"):
        file = write_lines(tmp_path / name, map(compact, [full(pk={"S": f"{name}{n}"}) for n in range(300)]))
        lake = tmp_path / "lake [x]*"
        assert from_files(lake, RULES, find(file).files).new_rows == 300
        assert len(datasets.arrow(lake, datasets.current(lake, "test"))) == 300


class Bucket:
    """An S3 that lists the keys it is told."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:

        return [
            {"Contents": [{"Key": key, "Size": 1, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)}]}
            for key in self.keys
        ]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object is one letter."""
    monkeypatch.setattr("boto3.s3.inject.download_fileobj", lambda _client, _bucket, _key, file: file.write(b"x"))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("s3://b", "../../x"),
        ("s3://b", "/x"),
        ("s3://b", "a/../../../x"),
        ("s3://b", "a//b"),
        ("s3://b", "a/./b"),
        ("s3://b", "a\0b"),
        ("s3://b", "link/x"),
        ("s3://..", "x"),
        ("s3://../../x", "x"),
        ("s3://b/../../x", "x"),
        ("s3://", "x"),
    ],
)
def test_a_key_in_s3_is_copied_into_its_buckets_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, key: str
) -> None:
    monkeypatch.setattr("whimbrel.lake.bucket.open_service", lambda *_: Bucket(key))
    lake = tmp_path / "a" / "lake"
    (lake / "s3" / "b").mkdir(parents=True)
    (lake / "s3" / "b" / "link").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError):
        fetch(Target(), address, lake)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("copied")
def test_keys_that_look_like_escapes_are_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.lake.bucket.open_service", lambda *_: Bucket("%2e%2e%2fx", "..x", "...", "A", "a"))
    place = fetch(Target(), "s3://b", tmp_path)
    assert {path.name for path in place.iterdir()} == {"%2e%2e%2fx", "..x", "...", "A", "a"}


@pytest.mark.usefixtures("copied")
def test_a_copy_of_what_is_no_longer_in_the_bucket_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["p/a", "p/b"]
    monkeypatch.setattr("whimbrel.lake.bucket.open_service", lambda *_: Bucket(*there))
    place = fetch(Target(), "s3://b/p", tmp_path)
    (place / "c.part").write_bytes(b"the rest of a copy that was stopped")
    assert {path.name for path in fetch(Target(), "s3://b/p", tmp_path).iterdir()} == {"a", "b"}
    there.remove("p/b")
    with pytest.raises(UserError, match="/p/b is a copy of what is no longer there"):
        fetch(Target(), "s3://b/p", tmp_path)
    assert fetch(Target(), "s3://b/p/a", tmp_path).read_bytes() == b"x"
