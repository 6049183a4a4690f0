"""Exports and names that somebody made to do harm, or that were damaged: nothing outside is read or written, memory is
bounded, and each bad line is named; never a traceback, never a line that is missing without a word.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from tests.lake.helper import change, compact, full, write_export, write_lines
from whimbrel.cli.main import main
from whimbrel.errors import LogCorrupt, StateError, UserError
from whimbrel.lake import datasets, sources
from whimbrel.lake.bucket import fetch
from whimbrel.lake.convert import Rules, from_exports, from_files
from whimbrel.lake.native import find_exports
from whimbrel.lake.restore import files_of
from whimbrel.lake.sources import find
from whimbrel.project import Target

RULES = Rules("test", "test", ("pk",))
SECRET = {"Item": {"pk": {"S": "secret"}}}
FULL_ID, LATER_ID = "01768385000000-00000000", "01768385600000-00000001"
NOON, ONE = "2026-01-14T12:00:00.000Z", "2026-01-14T13:00:00.000Z"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    file = folder / "whimbrel.toml"
    file.write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    return file


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

    def download_fileobj(self, _bucket: str, key: str, file: Any) -> None:
        file.write(b"x")


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


def test_keys_that_look_like_escapes_are_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.lake.bucket.open_service", lambda *_: Bucket("%2e%2e%2fx", "..x", "...", "A", "a"))
    place = fetch(Target(), "s3://b", tmp_path)
    assert {path.name for path in place.iterdir()} == {"%2e%2e%2fx", "..x", "...", "A", "a"}


# A line, and a word of the reason.
BAD = {
    "number too large": (b'{"pk":{"S":"1"},"n":{"N":"1E999999999"}}', "outside the range"),
    "number too small": (b'{"pk":{"S":"1"},"n":{"N":"1E-999999999"}}', "outside the range"),
    "number out of range": (b'{"pk":{"S":"1"},"n":{"N":"1E126"}}', "outside the range"),
    "39 digits": (b'{"pk":{"S":"1"},"n":{"N":"' + b"1" * 39 + b'"}}', "more than the 38 digits"),
    "a million digits": (b'{"pk":{"S":"1"},"n":{"N":"' + b"1" * 1_000_000 + b'"}}', "outside the range"),
    "in a set": (b'{"pk":{"S":"1"},"n":{"NS":["1","1E999999999"]}}', "outside the range"),
    "in a map": (b'{"pk":{"S":"1"},"n":{"M":{"x":{"N":"1E99999999999999999999"}}}}', "outside the range"),
    "NaN": (b'{"pk":{"S":"1"},"n":{"N":"NaN"}}', "not a number"),
    "Infinity": (b'{"pk":{"S":"1"},"n":{"N":"Infinity"}}', "not a number"),
    "NaN of JSON": (b'{"pk":{"S":"1"},"n":{"N":NaN}}', "no JSON"),
    "two signs": (b'{"pk":{"S":"1"},"n":{"N":"+-1"}}', "not a number"),
    "blank": (b'{"pk":{"S":"1"},"n":{"N":" 1"}}', "not a number"),
    "no digits": (b'{"pk":{"S":"1"},"n":{"N":""}}', "not a number"),
    "underscore": (b'{"pk":{"S":"1"},"n":{"N":"1_0"}}', "not a number"),
    "other digits": ('{"pk":{"S":"1"},"n":{"N":"\u0661"}}'.encode(), "not a number"),
    "number without quotes": (b'{"pk":{"S":"1"},"n":{"N":1}}', "not a number"),
    "deep": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 100_000 + b"]}" * 100_000 + b"}", "no JSON"),
    "nested 300": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 300 + b"]}" * 300 + b"}", "no JSON"),
    "nested 33": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 33 + b"]}" * 33 + b"}", "deeper"),
    "raw lists": (b'{"pk":{"S":"1"},"n":' + b"[" * 500 + b"]" * 500 + b"}", "no JSON"),
    "a name twice": (b'{"pk":{"S":"1"},"pk":{"S":"2"}}', "twice"),
    "a name twice inside": (b'{"pk":{"S":"1"},"m":{"M":{"a":{"S":"1"},"a":{"S":"2"}}}}', "twice"),
    "not UTF-8": (b'{"pk":{"S":"\xff\xfe"}}', "no JSON"),
    "surrogate": (b'{"pk":{"S":"\\ud800"}}', "no JSON"),
    "surrogate in UTF-8": (b'{"pk":{"S":"\xed\xa0\x80"}}', "no JSON"),
    "NUL": (b'{"pk":{"S":"a\0b"}}', "no JSON"),
    "only NUL": (b"\0" * 100, "no JSON"),
    "unknown type": (b'{"pk":{"S":"1"},"x":{"X":"1"}}', "which DynamoDB does not have"),
    "two types": (b'{"pk":{"S":"1","N":"1"}}', "not one value"),
    "no type": (b'{"pk":"1"}', "not one value"),
    "null": (b'{"pk":null}', "not one value"),
    "NULL false": (b'{"pk":{"S":"1"},"x":{"NULL":false}}', "NULL"),
    "BOOL text": (b'{"pk":{"S":"1"},"x":{"BOOL":"true"}}', "BOOL"),
    "not base64": (b'{"pk":{"S":"1"},"x":{"B":"a"}}', "base64"),
    "cut off": (b'{"pk":{"S":"1"', "no JSON"),
    "more behind it": (b'{"pk":{"S":"1"}}{"pk":{"S":"2"}}', "no JSON"),
    "empty": (b"", "empty"),
    "too long": (b'{"pk":{"S":"' + b"x" * (5 << 20) + b'"}}', "more than 4 MB"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if at % 3 else []) for at, case in enumerate(BAD)]
)
def test_a_bad_line_is_set_aside_with_its_reason(tmp_path: Path, case: str) -> None:
    """Far behind what is looked at beforehand, where DuckDB reads."""
    line, reason = BAD[case]
    lines = [b'{"pk":{"S":"k%d"},"n":{"N":"%d"}}' % (number, number) for number in range(3_000)]
    lines += [line, b'{"pk":{"S":"end"}}']
    done = from_files(tmp_path / "lake", RULES, find(write_lines(tmp_path / "data.json", lines)).files)
    assert done.refusals == len(done.refused) == 1
    assert reason in done.refused[0].reason
    assert done.refused[0].line == 3_001 or done.refused[0].key == {"pk": {"S": "1"}}
    assert done.new_rows == len(lines) - 1


def test_a_bad_line_of_every_kind_in_one_file(tmp_path: Path) -> None:
    good = [b'{"pk":{"S":"k%d"},"n":{"N":"%d"}}' % (number, number) for number in range(len(BAD))]
    lines = [line for pair in zip(good, (line for line, _ in BAD.values()), strict=True) for line in pair]
    done = from_files(tmp_path / "lake", RULES, find(write_lines(tmp_path / "data.json", lines)).files)
    assert [each.line for each in done.refused] == [2 * number + 2 for number in range(len(BAD))]
    assert done.new_rows == len(good)


METADATA = [
    b'{"Metadata":{"WriteTimestampMicros":{"N":"x"}},"Keys":{"pk":{"S":"1"}}}',
    b'{"Metadata":{"WriteTimestampMicros":1e5,"a":1},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"1"}}}',
    b'{"Metadata":{"t":1e15},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"1"},"a":{"N":"1"},"a":{"N":"2"}}}',
    b'{"Metadata":{},"Keys":{},"NewImage":{"pk":{"S":"1"}}}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImage":null}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"2"}}}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImages":{"pk":{"S":"1"}}}',
    b'{"Metadata":{},"NewImage":{"pk":{"S":"1"}}}',
]


def test_a_bad_change_is_set_aside(tmp_path: Path) -> None:
    exports, lake = tmp_path / "exports", tmp_path / "lake"
    write_export(exports, FULL_ID, NOON, [full(pk={"S": "1"}, a={"N": "0"})])
    good = change({"pk": {"S": "2"}}, {"a": {"N": "2"}})
    folder = write_export(exports, LATER_ID, ONE, [good], since=NOON, files=1)
    listed = entries(folder)
    data = gzip.compress(b"\n".join([compact(good), *METADATA]) + b"\n")
    (folder.parent / "data" / listed[0]["dataFileS3Key"].rpartition("/")[2]).write_bytes(data)
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    listed[0] |= {"itemCount": 1 + len(METADATA), "md5Checksum": md5, "etag": ""}
    rewrite_manifest(folder, listed, itemCount=1 + len(METADATA))
    done = from_exports(lake, RULES, find_exports(exports))
    assert done is not None
    assert [each.line for each in done.refused] == list(range(2, 2 + len(METADATA)))
    assert {row["pk"] for row in datasets.arrow(lake, done.manifest).to_pylist()} == {"1", "2"}


def test_when_every_line_was_set_aside_the_reasons_are_shown(project: Path) -> None:
    lines = [b'{"pk":"1"}'] * 7 + [b"id,name", b"1E5"]
    file = write_lines(project.parent / "data.json", lines)
    result = run(project, "convert", "test", "--from", str(file))
    assert result.exit_code == 2
    assert "all of its 9 lines were set aside" in result.output
    assert "7 times: attribute 'pk' is \"1\", not one value with its type (first:" in result.output
    assert f"{file}, line 1" in result.output
    assert "there are no items" not in result.output
    assert run(project, "query", "SHOW TABLES").exit_code == 0


def test_a_data_set_stays_where_every_line_of_the_next_was_set_aside(project: Path) -> None:
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 0
    write_lines(file, [b"garbage"])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 2
    assert "1" in run(project, "query", "-f", "csv", "SELECT pk FROM test").output


GOOD = b"".join(b'{"pk":{"S":"k%d"}}\n' % number for number in range(20_000))


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


PACKED = {"gzip": gzip.compress(GOOD, mtime=0), "zstd": zst(GOOD)}
DAMAGED = {
    f"{name} {what}": data
    for name, sound in PACKED.items()
    for what, data in {
        "half": sound[: len(sound) // 2],
        "without its end": sound[:-3],
        "checksum": flipped(sound, len(sound) - 6 if name == "gzip" else len(sound) - 1),
        "one bit": flipped(sound, len(sound) // 2),
        "garbage behind": sound + b"garbage",
        "second half": sound + sound[:-20],
    }.items()
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_packed_file_is_named(tmp_path: Path, case: str) -> None:
    """A single bit can give other text of the same length: only the checksum tells."""
    (tmp_path / "data").write_bytes(DAMAGED[case])
    with pytest.raises(StateError, match="data"):
        from_files(tmp_path / "lake", RULES, find(tmp_path / "data").files)


@pytest.mark.parametrize("name", PACKED)
def test_packed_files_in_several_pieces_are_read_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").write_bytes(PACKED[name] * 2)
    assert from_files(tmp_path / "lake", RULES, find(tmp_path / "data").files).new_rows == 40_000


def test_text_marks(tmp_path: Path, project: Path) -> None:
    """A mark of UTF-8 is passed over, on both ways of reading; UTF-16 is named."""
    for lines in (1, 3_000):
        (tmp_path / "data").write_bytes(b"\xef\xbb\xbf" + b'{"pk":{"S":"1"}}\r\n' * lines)
        done = from_files(tmp_path / "lake", RULES, find(tmp_path / "data").files)
        assert (done.new_rows, done.refusals) == (lines, 0)
    (tmp_path / "data").write_bytes('{"pk":{"S":"1"}}\n'.encode("utf-16"))
    result = run(project, "convert", "test", "--from", str(tmp_path / "data"))
    assert (result.exit_code, "UTF-16" in result.output) == (3, True)


def set_entry(**values: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite_manifest(folder, [entries(folder)[0] | values])


def drop_entry(name: str) -> Callable[[Path], None]:
    def drop(folder: Path) -> None:
        (entry,) = entries(folder)
        del entry[name]
        rewrite_manifest(folder, [entry])

    return drop


WRONG = {
    "MD5": set_entry(md5Checksum="AAAAAAAAAAAAAAAAAAAAAA=="),
    "MD5 of another kind": set_entry(md5Checksum=5),
    "no MD5": drop_entry("md5Checksum"),
    "empty MD5": set_entry(md5Checksum=""),
    "ETag": set_entry(etag="0" * 32 + "-1"),
    "no key": drop_entry("dataFileS3Key"),
    "key of another kind": set_entry(dataFileS3Key=["x"]),
    "no count": drop_entry("itemCount"),
    "count of another kind": set_entry(itemCount="1"),
    "negative count": set_entry(itemCount=-1),
    "too many": set_entry(itemCount=2),
    "listed twice": lambda folder: rewrite_manifest(folder, entries(folder) * 2, itemCount=2),
    "sum": lambda folder: rewrite_manifest(folder, entries(folder), itemCount=2),
    "sum of another kind": lambda folder: rewrite_manifest(folder, entries(folder), itemCount=1.0),
    "time": lambda folder: rewrite_manifest(folder, entries(folder), exportTime="yesterday"),
    "kind": lambda folder: rewrite_manifest(folder, entries(folder), exportType="PARTIAL"),
    "view": lambda folder: rewrite_manifest(folder, entries(folder), outputView="OLD_IMAGE"),
    "an entry that is a list": lambda folder: (folder / "manifest-files.json").write_text("[]\n") and None,
    "a summary that is a list": lambda folder: (folder / "manifest-summary.json").write_text("[]") and None,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_manifest_that_does_not_fit_is_named(tmp_path: Path, case: str) -> None:
    folder = export_of_one(tmp_path / "exports")
    WRONG[case](folder)
    with pytest.raises(LogCorrupt):
        from_exports(tmp_path / "lake", RULES, find_exports(tmp_path / "exports"))


def test_a_file_with_fewer_lines_than_its_manifest_says_is_not_restored(tmp_path: Path) -> None:
    folder = export_of_one(tmp_path / "exports")
    rewrite_manifest(folder, [entries(folder)[0] | {"itemCount": 2}], itemCount=2)
    with pytest.raises(LogCorrupt, match="it has 1 items"):
        list(sources.read(files_of(find_exports(tmp_path / "exports"), ())[0]))


LIMIT = """
import re, sys
from pathlib import Path
from whimbrel.lake.convert import Rules, from_files
from whimbrel.lake.sources import find
import duckdb, pyarrow.parquet
def most():  # of this program: ru_maxrss would be that of the process it was started from
    return int(re.search(r"VmHWM:[ \t]+(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
done = from_files(Path(sys.argv[2]), Rules("t", "t", ("pk",)), find(Path(sys.argv[1])).files)
print(done.new_rows, done.refusals, (most() - before) >> 10)
"""


def peak(file: Path, lake: Path) -> tuple[int, int, int]:
    """(rows, refusals, megabytes more than before) of a conversion in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LIMIT, str(file), str(lake)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, refusals, megabytes = map(int, done.stdout.split())
    print(megabytes, "MB")
    return rows, refusals, megabytes


@pytest.mark.parametrize(
    ("name", "size"), [("gzip", 100), ("zstd", 100), pytest.param("gzip", 1_500, marks=pytest.mark.slow)]
)
def test_one_endless_line_takes_no_memory(tmp_path: Path, name: str, size: int) -> None:
    """``size`` megabytes, packed a small file. Before, each byte of the line took more than two of memory."""
    file = tmp_path / "data"
    with file.open("wb") as raw:
        packer: Any = (
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1)
            if name == "gzip"
            else zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
        )
        with packer:
            packer.write(b'{"pk":{"S":"1"}}\n{"pk":{"S":"')
            for _ in range(size):
                packer.write(b"x" * (1 << 20))
            packer.write(b'"}}\n{"pk":{"S":"2"}}\n')
    assert file.stat().st_size < 10_000 * size
    rows, refusals, megabytes = peak(file, tmp_path / "lake")
    assert (rows, refusals) == (2, 1)
    assert megabytes < 200


@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.slow)])
def test_many_long_lines_take_bounded_memory(tmp_path: Path, count: int) -> None:
    """Lines of 3 MB behind short ones: DuckDB holds 2,048 at once, and items read one by one become batches."""
    with gzip.open(tmp_path / "data", "wb", 1) as file:
        file.write(b"".join(b'{"pk":{"S":"k%d"}}\n' % number for number in range(5_000)))
        for number in range(count):
            file.write(b'{"pk":{"S":"%d' % number + b"\\u00e9" * 500_000 + b'"}}\n')
    rows, refusals, megabytes = peak(tmp_path / "data", tmp_path / "lake")
    assert (rows, refusals) == (5_000 + count, 0)
    assert megabytes < 250
