"""PartitionFiles brings together what has the same key, loses nothing, and stays within its memory."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import StateError
from whimbrel.spill import DIGEST_BYTES, KeyedDigests, PartitionFiles


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=600_000) | st.binary(max_size=9))),
    partitions=st.integers(1, 9),
    buffer_bytes=st.sampled_from([1, 50, 1 << 20]),
)
def test_each_record_is_in_one_partition_with_all_of_its_key_in_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[bytes, bytes]], partitions: int, buffer_bytes: int
) -> None:
    expected = defaultdict(list)
    folder = tmp_path_factory.mktemp("spill") / "temporary"
    with PartitionFiles(folder, partitions, buffer_bytes=buffer_bytes) as spill:
        for key, record in records:
            expected[key].append(record)
            spill.add(key, record)
        found: dict[bytes, list[bytes]] = {}
        for number in range(partitions):
            here = defaultdict(list)
            for key, record in spill.partition(number):
                here[key].append(record)
            assert found.keys().isdisjoint(here)
            found |= here
    assert found == expected
    assert not folder.exists()


def test_the_partition_of_a_key_is_the_same_in_every_process(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from whimbrel.spill import PartitionFiles
with PartitionFiles(Path(sys.argv[1]), 7) as spill:
    for i in range(100):
        spill.add(b"key %d" % i, b"")
    print([sorted(key for key, _ in spill.partition(n)) for n in range(7)])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / seed)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"key 99" in outputs.pop()


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    crashed = PartitionFiles(tmp_path / "temporary", 4, buffer_bytes=1)
    for i in range(50):
        crashed.add(b"old %d" % i, b"x")
    with PartitionFiles(tmp_path / "temporary", 2) as spill:
        spill.add(b"new", b"y")
        assert [pair for n in range(2) for pair in spill.partition(n)] == [(b"new", b"y")]
    assert list(tmp_path.iterdir()) == []


def test_memory_and_open_files_are_bounded(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from whimbrel.spill import PartitionFiles
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
with PartitionFiles(Path(sys.argv[1]), 200, buffer_bytes=1 << 20) as spill:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(300_000):
        spill.add(b"%d" % i, bytes(200))
    print(sum(1 for n in range(200) for _ in spill.partition(n)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "temporary")], capture_output=True, text=True, check=True
    )
    records, more_kilobytes = map(int, ended.stdout.split())
    assert records == 300_000
    assert more_kilobytes < 16 * 1024  # of 60 MB


def test_a_full_disk_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from whimbrel.errors import StateError
from whimbrel.spill import PartitionFiles
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with PartitionFiles(Path(sys.argv[1]), 1, buffer_bytes=1) as spill:
    try:
        for i in range(100):
            spill.add(b"key", bytes(100))
    except StateError as error:
        print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "temporary")], capture_output=True, text=True, check=True
    )
    assert "File too large. Free disk space" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    with PartitionFiles(tmp_path, 1, buffer_bytes=1) as spill:
        spill.add(b"key", b"record")
        path = next(tmp_path.glob("*.part"))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(StateError, match="ends within a record"):
            list(spill.partition(0))


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(st.binary(max_size=9).filter(lambda key: b"\n" not in key)),
    partitions=st.integers(1, 9),
    buffer_bytes=st.sampled_from([1, 50, 1 << 20]),
)
def test_each_key_is_with_its_digest_in_order(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], partitions: int, buffer_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("digests") / "here"
    digests = [number.to_bytes(DIGEST_BYTES, "big") for number in range(len(keys))]
    kept = KeyedDigests(folder, partitions, buffer_bytes=buffer_bytes)
    for start in range(0, len(keys), 3):
        kept.add(keys[start : start + 3], digests[start : start + 3])
    assert kept.added == len(keys)
    with PartitionFiles(tmp_path_factory.mktemp("spill"), partitions) as spill:
        for key, digest in zip(keys, digests, strict=True):
            spill.add(key, digest)
        expected = [list(spill.partition(number)) for number in range(partitions)]
    assert [list(zip(*kept.partition(number), strict=True)) for number in range(partitions)] == expected
    assert kept.given == len(keys)
    kept.flush()
    other = KeyedDigests(folder, partitions)
    assert [list(zip(*other.partition(number), strict=True)) for number in range(partitions)] == expected


def test_a_key_without_its_digest_is_an_error(tmp_path: Path) -> None:
    kept = KeyedDigests(tmp_path, 1)
    kept.add([b"a", b"b"], [bytes(DIGEST_BYTES)] * 2)
    kept.flush()
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(StateError, match=r"has \d keys and \d+ bytes of digests"):
            kept.partition(0)
        path.unlink()
        with pytest.raises(StateError, match=r"has \d keys and \d+ bytes of digests"):
            kept.partition(0)
        path.write_bytes(whole)
    assert len(kept.partition(0)[0]) == 2
