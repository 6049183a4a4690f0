"""Partitioning on disk in bounded memory: what has the same key comes together, however much there is.

Used to bring rows of one item together when the primary key does not (PartitionFiles), and source and target digests
of one item in verify (KeyedDigests). Both put a key into the partition that its CRC-32 says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

from whimbrel.durable import writing
from whimbrel.errors import StateError

PARTITION_ROWS = 50_000  # of a partition, with all of which somebody works at once
_LENGTHS = struct.Struct("<II")
_BLOCK = 1 << 18
_BYTES_OF_A_PASS = 32 << 20


def partitions_for(rows: int) -> int:
    """So many that each has PARTITION_ROWS of ``rows`` or fewer, on average."""
    return max(1, -(-rows // PARTITION_ROWS))


class PartitionFiles:
    """Keys with records of any length: key length and record length (4 bytes each, little-endian), key, record.

    ``partitions`` files in ``folder``, which belongs to this object alone: leftovers of a crash there are removed.

    At most about ``buffer_bytes`` are in memory, and one file is open at a time. Close removes everything. A key is in
    the partition ``hashed(key) % partitions``: what divides a partition once more needs another function. Raises
    StateError when the disk is full or fails.
    """

    def __init__(
        self,
        folder: Path,
        partitions: int,
        *,
        buffer_bytes: int = 8 * 1024 * 1024,
        hashed: Callable[[bytes], int] = crc32,
    ) -> None:
        self.folder = folder
        self.partitions = partitions
        self._hashed = hashed
        self._buffer_bytes = buffer_bytes
        self._buffers = [bytearray() for _ in range(partitions)]
        self._buffered = 0
        for leftover in folder.glob("*.part"):
            leftover.unlink()

    def add(self, key: bytes, record: bytes) -> None:
        """Put ``record`` into the partition of ``key``: always the same one for the same key. Raises StateError."""
        buffer = self._buffers[self._hashed(key) % self.partitions]
        buffer += _LENGTHS.pack(len(key), len(record))
        buffer += key
        buffer += record
        self._buffered += 8 + len(key) + len(record)
        if self._buffered >= self._buffer_bytes:
            self._flush()

    def partition(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """The (key, record) pairs of one partition, in the order of ``add``; nothing may be added meanwhile."""
        self._flush()
        path = self._path(number)
        if not path.exists():
            return
        rest = b""
        with path.open("rb") as file:
            # A record longer than a block is read in blocks that grow with it, so the cost stays linear.
            while block := file.read(max(_BLOCK, len(rest))):
                data = rest + block
                at, size = 0, len(data)
                while at + 8 <= size:
                    key_length, record_length = _LENGTHS.unpack_from(data, at)
                    middle = at + 8 + key_length
                    end = middle + record_length
                    if end > size:
                        break
                    yield data[at + 8 : middle], data[middle:end]
                    at = end
                rest = data[at:]
        if rest:
            raise StateError("the temporary file ends within a record", place=str(path), hint="Run the step again.")

    def size(self, number: int) -> int:
        """How many bytes one partition has."""
        self._flush()
        path = self._path(number)
        return path.stat().st_size if path.exists() else 0

    def in_passes(self) -> Iterator[Iterator[tuple[bytes, bytes]]]:
        """The pairs of each partition, all of a key together; a partition that does not fit in memory is gone through
        several times, with other keys each time.
        """
        for number in range(self.partitions):
            passes = 1 + self.size(number) // _BYTES_OF_A_PASS
            for turn in range(passes):
                yield (pair for pair in self.partition(number) if passes == 1 or hash(pair[0]) % passes == turn)

    def close(self) -> None:
        """Remove the files, and the folder if nothing else is in it."""
        self._buffers = [bytearray() for _ in range(self.partitions)]
        self._buffered = 0
        for number in range(self.partitions):
            self._path(number).unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def __enter__(self) -> PartitionFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.part"

    def _flush(self) -> None:
        for number, buffer in enumerate(self._buffers):
            if buffer:
                _append(self._path(number), buffer)
                self._buffers[number] = bytearray()
        self._buffered = 0


DIGEST_BYTES = 16


class KeyedDigests:
    """Keys with a digest each, of DIGEST_BYTES: a file of keys, one a line, and one of digests for each of so many
    ``partitions`` in ``folder``.

    At most about ``buffer_bytes`` are in memory, and one file is open at a time. What was flushed may be read by
    another object of the same folder, also in another process. Raises StateError when the disk is full or fails.
    """

    def __init__(self, folder: Path, partitions: int, *, buffer_bytes: int = 8 * 1024 * 1024) -> None:
        self.folder = folder
        self.partitions = partitions
        self.added = self.given = 0  # keys that came, and that ``partition`` gave
        self._buffer_bytes = buffer_bytes
        self._keys = [bytearray() for _ in range(partitions)]
        self._digests = [bytearray() for _ in range(partitions)]

    def add(self, keys: Sequence[bytes], digests: Sequence[bytes]) -> None:
        """Put each of ``keys``, which has no newline, with its digest into the partition of the key."""
        self.added += len(keys)
        partitions, all_keys, all_digests = self.partitions, self._keys, self._digests
        for key, digest in zip(keys, digests, strict=True):
            number = crc32(key) % partitions
            all_keys[number] += key + b"\n"
            all_digests[number] += digest
        if sum(map(len, all_keys)) + sum(map(len, all_digests)) >= self._buffer_bytes:
            self.flush()

    def partition(self, number: int) -> tuple[list[bytes], list[bytes]]:
        """The keys of one partition and their digests, in the order of ``add``; nothing may be added meanwhile."""
        keys = self._all(number, "keys", self._keys).split(b"\n")
        digests = self._all(number, "digests", self._digests)
        if keys.pop() or len(digests) != DIGEST_BYTES * len(keys):
            place, hint = str(self._path(number, "keys")), "Run the step again."
            raise StateError(f"has {len(keys)} keys and {len(digests)} bytes of digests", place=place, hint=hint)
        self.given += len(keys)
        return keys, [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]

    def flush(self) -> None:
        """Put everything on disk."""
        for kind, buffers in (("keys", self._keys), ("digests", self._digests)):
            for number, buffer in enumerate(buffers):
                if buffer:
                    _append(self._path(number, kind), buffer)
                    buffers[number] = bytearray()

    def _all(self, number: int, kind: str, buffers: list[bytearray]) -> bytes:
        path = self._path(number, kind)
        return (path.read_bytes() if path.exists() else b"") + bytes(buffers[number])

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:05d}.{kind}"


def _append(path: Path, data: bytearray) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
