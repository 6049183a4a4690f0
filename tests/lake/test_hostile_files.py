"""Damaged files, manifests that do not fit them, and lines without an end: named, and in bounded memory."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.lake.test_hostile import RULES, entries, export_of_one, rewrite_manifest, run
from whimbrel.errors import LogCorrupt, StateError
from whimbrel.lake import sources
from whimbrel.lake.convert import from_exports, from_files
from whimbrel.lake.native import find_exports
from whimbrel.lake.restore import files_of
from whimbrel.lake.sources import find

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
    more = GOOD.replace(b'"S":"', b'"S":"more-')
    (tmp_path / "data").write_bytes(PACKED[name] + {"gzip": gzip.compress, "zstd": zst}[name](more))
    assert from_files(tmp_path / "lake", RULES, find(tmp_path / "data").files).new_rows == 40_000


def test_text_marks(tmp_path: Path, project: Path) -> None:
    """A mark of UTF-8 is passed over, on both ways of reading; UTF-16 is named."""
    for lines in (1, 3_000):
        text = b"".join(b'{"pk":{"S":"%d"}}\r\n' % number for number in range(lines))
        (tmp_path / "data").write_bytes(b"\xef\xbb\xbf" + text)
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
from whimbrel.lake.convert import ConvertRules, from_files
from whimbrel.lake.sources import find
import duckdb, pyarrow.parquet
def most():  # of this program: ru_maxrss would be that of the process it was started from
    return int(re.search(r"VmHWM:[ \t]+(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
done = from_files(Path(sys.argv[2]), ConvertRules("t", "t", ("pk",)), find(Path(sys.argv[1])).files)
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
            file.write(b'{"pk":{"S":"%d"},"text":{"S":"' % number + b"\\u00e9" * 500_000 + b'"}}\n')
    rows, refusals, megabytes = peak(tmp_path / "data", tmp_path / "lake")
    assert (rows, refusals) == (5_000 + count, 0)
    assert megabytes < 250
