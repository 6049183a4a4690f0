"""What lies in S3 and on this machine, of a lake in S3: compared whenever it is fetched, bounded, and never in the way
of somebody who reads it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack
from tests.lake.machines import Bucketed
from tests.lake.test_shared import Shop
from whimbrel.bucket import PART_BYTES, Bucket, NewObject
from whimbrel.errors import StateError, TargetUnreachable
from whimbrel.lake.cache import Cache
from whimbrel.project import Store, load_project


@pytest.fixture
def shop(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> Shop:
    found = Shop(tmp_path, ministack, new_table_name("files"))
    found.a.run("export", found.table)
    return found


def test_an_exports_file_that_is_damaged_or_gone_ends_the_conversion(shop: Shop) -> None:
    [name, *_] = shop.bucket.names("/data/")
    whole = shop.bucket.get(name)
    shop.bucket.put(name, whole[:-1] + b"x")
    assert "does not match the MD5" in shop.a.run("convert", shop.table, code=3)
    shop.bucket.s3.delete_object(Bucket=shop.bucket.name, Key=name)
    assert "the object is gone" in shop.a.run("convert", shop.table, code=3)
    assert not shop.bucket.names("/datasets/")
    shop.bucket.put(name, whole)
    shop.a.run("convert", shop.table)
    assert shop.b.rows(shop.table) == shop.expected()


def test_a_data_sets_file_that_is_damaged_or_gone_ends_the_query(shop: Shop) -> None:
    shop.a.run("convert", shop.table)
    [name, *_] = shop.bucket.names(".parquet")
    whole = shop.bucket.get(name)
    shop.bucket.put(name, whole[:-1] + b"x")
    query = ("query", f'SELECT * FROM "{shop.table}"')
    assert "the checksum does not match" in shop.b.run(*query, code=3)
    shop.bucket.s3.delete_object(Bucket=shop.bucket.name, Key=name)
    assert "the object is gone" in shop.b.run(*query, code=3)
    shop.bucket.put(name, whole)
    assert shop.b.rows(shop.table) == shop.expected()


def test_a_data_set_that_sql_names_in_another_way_is_no_empty_one(shop: Shop) -> None:
    shop.a.run("convert", shop.table)
    parts = f"'{shop.table[:3]}' || '{shop.table[3:]}'"
    said = shop.b.run("query", f"SELECT count(*) FROM query_table({parts})", code=2)
    assert f"the data set {shop.table} is in S3" in said


def test_another_lakes_folder_is_refused(shop: Shop) -> None:
    (shop.folder / "c" / "mine").mkdir(parents=True)
    (shop.folder / "c" / "mine" / "datasets").mkdir()
    file = shop.a.project.read_text().replace("[lake]\n", '[lake]\ncache = "mine"\n')
    (shop.folder / "c" / "whimbrel.toml").write_text(file)
    other = type(shop.a)(shop.folder / "c")
    assert "the folder has another lake" in other.run("query", "SHOW TABLES", code=2)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('folder = "s3://bucket"', "must be s3://BUCKET/PREFIX"),
        ('folder = "arn:aws:s3tables:us-east-1:111122223333:bucket/b"', "cannot be in S3 Tables"),
        ('folder = "s3://0a1b2c--table-s3/shop"', "cannot be in S3 Tables"),
        ('folder = "s3://bucket--use1-az4--x-s3/shop"', "cannot be in a directory bucket"),
        ('database = "s3tablescatalog/b"', "cannot be in S3 Tables"),
        ('cache = "mine"', "has no effect unless folder is in S3"),
        ("cache_gb = 3", "has no effect unless folder is in S3"),
    ],
)
def test_what_the_project_file_may_not_say(tmp_path: Path, line: str, fault: str) -> None:
    from whimbrel.errors import ProjectError

    file = tmp_path / "whimbrel.toml"
    file.write_text(f"[lake]\n{line}\n")
    with pytest.raises(ProjectError, match=fault):
        load_project(file)


# The bucket.


@pytest.fixture
def bucket(ministack: Ministack) -> Bucket:
    found = Bucketed(ministack)
    return Bucket(Store(found.name, "lake", ministack.endpoint), ministack.target())


def test_a_version_is_replaced_once(bucket: Bucket) -> None:
    first = bucket.replace("p", b"1", "")
    assert first
    assert bucket.read("p") == (b"1", first)
    assert bucket.replace("p", b"2", "") == ""
    second = bucket.replace("p", b"2", first)
    assert second
    assert bucket.replace("p", b"3", first) == ""
    assert bucket.read("p") == (b"2", second)
    bucket.remove(["p"])
    assert bucket.replace("p", b"4", second) == ""
    assert bucket.read("p") == (b"", "")


def test_an_answer_that_was_lost_is_our_own(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The put was made; its answer did not arrive, and the client tried again."""
    first = bucket.replace("p", b"1", "")
    real = bucket._call

    def twice(operation: str, name: str, request: dict[str, Any]) -> Any:
        if operation == "put_object":
            real(operation, name, request)
        return real(operation, name, request)

    monkeypatch.setattr(bucket, "_call", twice)
    assert bucket.replace("p", b"2", first)
    assert bucket.read("p")[0] == b"2"


def test_of_two_objects_in_parts_that_meet_the_second_knows_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers the second with a conflict, and its upload is over."""
    real, met = bucket._call, list[str]()

    def meets(operation: str, name: str, request: dict[str, Any]) -> Any:
        if operation == "complete_multipart_upload" and not met:
            met.append(name)
            real("put_object", name, {"Body": b"of another"})
            real("abort_multipart_upload", name, {"UploadId": request["UploadId"]})
            answer = {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}}
            raise bucket.client.exceptions.ClientError(answer, "CompleteMultipartUpload")
        return real(operation, name, request)

    monkeypatch.setattr(bucket, "_call", meets)
    new = NewObject(bucket, "data")
    new.write(bytes(PART_BYTES))
    new.write(b"more")
    with pytest.raises(FileExistsError):
        new.close()
    assert met
    assert bucket.get("data") == b"of another"


def test_a_versioned_bucket_is_as_another(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.store.bucket, VersioningConfiguration={"Status": "Enabled"})
    assert bucket.put_new("a", b"1")
    assert not bucket.put_new("a", b"2")
    version = bucket.replace("a", b"3", bucket.read("a")[1])
    assert bucket.read("a") == (b"3", version)
    bucket.remove(["a"])
    assert (bucket.read("a"), list(bucket.list(""))) == ((b"", ""), [])
    assert bucket.put_new("a", b"4")


def test_a_list_has_all_pages(bucket: Bucket) -> None:
    names = [f"x/{number:04}" for number in range(1_005)]
    for name in names:
        bucket.put_new(name, b"1")
    assert [name for name, _ in bucket.list("x/")] == names
    bucket.remove(names)
    assert list(bucket.list("x/")) == []


def test_a_file_is_copied_whole_or_its_beginning(bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * 50_000
    path = tmp_path / "data"
    path.write_bytes(data)
    bucket.put_file("data", path)
    with path.with_suffix(".copy").open("w+b") as file:
        bucket.copy("data", file)
        assert (file.seek(0), file.read()) == (0, data)
        bucket.copy("data", file, 1_000)
        assert (file.seek(0), file.read()) == (0, data[:1_000])
    with pytest.raises(FileExistsError):
        bucket.put_file("data", path)


def test_an_answer_that_breaks_off_is_asked_for_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_new("data", b"whole")
    real, broken = bucket._copied, list[int]()

    def breaks(name: str, file: Any, request: dict[str, Any]) -> None:
        if not broken:
            broken.append(file.write(b"wh"))
            raise TargetUnreachable("2 of 5 bytes came")
        real(name, file, request)

    monkeypatch.setattr(bucket, "_copied", breaks)
    with (tmp_path / "copy").open("w+b") as file:
        bucket.copy("data", file)
        assert (file.seek(0), file.read()) == (0, b"whole")


# The cache.


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Cache, Cache, list[Path]]]:
    """Two processes' caches of one folder, and three data sets' folders of 100 bytes, the oldest first."""
    found = [tmp_path / "t" / name for name in "abc"]
    one, other = Cache(tmp_path, 250), Cache(tmp_path, 250)
    for each in found:
        one.pin(each)
        (each / "x.parquet").write_bytes(bytes(100))
    one.close()
    yield one, other, found
    one.close()
    other.close()


def there(places: list[Path]) -> list[str]:
    return [each.name for each in places if (each / "x.parquet").exists()]


def test_what_was_not_used_for_longest_goes_first(places: tuple[Cache, Cache, list[Path]]) -> None:
    one, _, found = places
    one.pin(found[0])
    one.close()
    one.make_room(50)
    assert there(found) == ["a", "c"]


def test_what_somebody_uses_stays(places: tuple[Cache, Cache, list[Path]]) -> None:
    one, other, found = places
    other.pin(found[0])
    one.pin(found[1])
    one.make_room(50)
    assert there(found) == ["a", "b"]
    with pytest.raises(StateError, match="251 bytes of data sets are needed at once, and 250 may be on this machine"):
        one.make_room(51)
    other.close()
    one.make_room(150)
    assert there(found) == ["b"]


def test_a_data_set_that_is_larger_than_the_cache_is_said_so(shop: Shop) -> None:
    shop.a.run("convert", shop.table)
    small = shop.machine("small", lake="cache_gb = 0.000001\n")
    said = small.run("query", f'SELECT * FROM "{shop.table}"', code=3)
    assert "Set a larger cache_gb in [lake]" in said


# Memory.

CONVERT = """
import sys
from pathlib import Path
from whimbrel.project import load_project
from whimbrel.lake.table import make_dataset
import threading
made = make_dataset(load_project(Path(sys.argv[1])), "t", threading.Event())
assert made.manifest.rows == int(sys.argv[2]), made.manifest.rows
print(Path("/proc/self/status").read_text())
"""


@pytest.mark.parametrize("files", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_a_conversion_from_s3_takes_bounded_memory(tmp_path: Path, ministack: Ministack, files: int) -> None:
    """One file for each core is here at a time, and in memory none is."""
    bucket, rows = Bucketed(ministack), 1_000
    rule = '[run]\nworkers = 1\n[[dataset]]\ntable = "t"\nkey = ["pk"]\n'
    machine = bucket.machine(tmp_path / "m", ministack, rule)
    put_export(bucket, files, rows)
    command = [sys.executable, "-c", CONVERT, str(machine.project), str(files * rows)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    [found] = re.findall(r"VmHWM:\s+(\d+) kB", said)
    print(int(found) // 1024)
    assert int(found) / 1024 < 300


def put_export(bucket: Bucketed, files: int, rows: int) -> None:
    """A full export of incompressible items, as the lake has it."""
    import base64
    import os

    from whimbrel.lake.chain_file import Chain, chain_bytes
    from whimbrel.lake.native import full_summary, new_data_name, new_export_id

    identity = new_export_id()
    below = f"lake/exports/t/AWSDynamoDB/{identity}"
    listed = b""
    for number in range(files):
        lines = [
            {"Item": {"pk": {"S": f"{number} {row}"}, "n": {"N": str(row)}, "text": {"S": os.urandom(200).hex()}}}
            for row in range(rows)
        ]
        packed = gzip.compress(b"".join(json.dumps(each).encode() + b"\n" for each in lines), 1)
        md5, name = hashlib.md5(packed).digest(), f"data/{new_data_name()}"
        bucket.put(f"{below}/{name}", packed)
        entry = {"itemCount": rows, "md5Checksum": base64.b64encode(md5).decode(), "dataFileS3Key": f"{below}/{name}"}
        listed += json.dumps(entry).encode() + b"\n"
    moment = "2026-01-14T10:00:00.000Z"
    summary = json.dumps(full_summary(identity, "arn:aws:dynamodb:::table/t", "id", (moment, moment), files * rows))
    for name, data in (("manifest-files", listed), ("manifest-summary", summary.encode())):
        bucket.put(f"{below}/{name}.json", data)
        bucket.put(f"{below}/{name}.md5", base64.b64encode(hashlib.md5(data).digest()))
    chain = Chain("id", (("pk", "S"),), identity, moment)
    bucket.put("lake/exports/t/chain.json", chain_bytes(replace(chain, exports=(identity,))))
