"""What a comparison knows a table by: a digest of the item in each line of its chain of exports, in their order.

``digests.bin`` beside the chain has DIGEST_BYTES for each line, NONE for a deletion and for a line that a later one
supersedes; ``digests.json`` says of which export they are the last word, and has a digest of them all. Where they are
missing, damaged or of another export, they are made from the exports themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from itertools import chain, count
from operator import methodcaller
from pathlib import Path
from shutil import rmtree
from struct import iter_unpack

import orjson

from whimbrel.durable import publish, replace_file
from whimbrel.records import Item
from whimbrel.spill import DIGEST_BYTES

BODY, HEAD, SEGMENTS = "digests.bin", "digests.json", "digests"
NONE = bytes(DIGEST_BYTES)
LINES_AT_ONCE = 500_000  # of which the digests are in memory, at some 140 bytes each
UNSEEN, SEEN, SUPERSEDED = 0, 1, 2
_BLOCK = 1 << 20
_FORMAT = "whimbrel-digests/1"


# An item's JSON, names in order: what its digest is made of. These three run for each item of a table, so they are not
# Python functions.
text_of: Callable[[Item], bytes] = partial(orjson.dumps, option=orjson.OPT_SORT_KEYS)
_hashed = partial(blake2b, digest_size=DIGEST_BYTES)
_digest = methodcaller("digest")


def digests_of(texts: Iterable[bytes]) -> Iterator[bytes]:
    return map(_digest, map(_hashed, texts))


def digest_of(text: bytes) -> bytes:
    return _hashed(text).digest()


def part_of(digest: bytes, parts: int) -> int:
    return int.from_bytes(digest[:4]) * parts >> 32


class LineDigests:
    """Of ``lines`` lines. ``states`` says of each whether the table was seen to have its item, or what supersedes it.

    They are taken in so many ``parts``, by digest, that memory is bounded.
    """

    def __init__(self, path: Path, lines: int) -> None:
        self.states = bytearray(lines)
        self.parts = 1 + lines // LINES_AT_ONCE
        self._path = path
        for at, block in self._blocks():
            for number in _places(block, NONE):
                self.states[at + number] = SEEN  # nobody looks for it

    def part(self, number: int) -> dict[bytes, int]:
        """The lines of one part by their digests."""
        found: dict[bytes, int] = {}
        for at, block in self._blocks():
            digests = zip(chain.from_iterable(iter_unpack(f"{DIGEST_BYTES}s", block)), count(at))
            if self.parts > 1:
                digests = (each for each in digests if part_of(each[0], self.parts) == number)  # type: ignore[assignment]
            found.update(digests)
        found.pop(NONE, None)
        return found

    def of(self, line: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(line * DIGEST_BYTES)
            return file.read(DIGEST_BYTES)

    def all_differ(self) -> bool:
        """Whether no two lines have one item: a scan that gave one twice would have made the second."""
        return sum(len(self.part(number)) for number in range(self.parts)) == self.states.count(UNSEEN)

    def later(self, added: Path | None = None) -> Iterator[bytes]:
        """All digests as they are from now on, with those that ``added`` has."""
        for at, block in self._blocks():
            patched = bytearray(block)
            for number in _places(self.states[at : at + len(block) // DIGEST_BYTES], bytes([SUPERSEDED])):
                patched[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES] = NONE
            yield bytes(patched)
        if added:
            yield from _blocks_of(added)

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        at = 0
        for block in _blocks_of(self._path):
            yield at, block
            at += len(block) // DIGEST_BYTES


def load_digests(place: Path, last: str, lines: int) -> LineDigests | None:
    """Those of the chain whose export ``last`` is, which has so many lines; None where there are none of it."""
    path = place / BODY
    try:
        head = orjson.loads((place / HEAD).read_bytes())
        if head == _head(last, lines, _blocks_of(path)) and path.stat().st_size == lines * DIGEST_BYTES:
            return LineDigests(path, lines)
    except (OSError, ValueError):
        pass
    return None


def save_digests(place: Path, last: str, blocks: Iterable[bytes]) -> None:
    """The order matters: what the head says is there when it is. Raises OSError."""
    path = place / BODY
    with path.with_name(BODY + ".new").open("wb") as file:
        size = sum(map(file.write, blocks))
        publish(file, path)
    replace_file(place / HEAD, orjson.dumps(_head(last, size // DIGEST_BYTES, _blocks_of(path))) + b"\n")


def forget_digests(place: Path) -> None:
    (place / HEAD).unlink(missing_ok=True)


def sealed(digests: bytes) -> bytes:
    """What a segment of a full export leaves in SEGMENTS: its digests, and a digest of these."""
    return digests + digest_of(digests)


def join_digests(place: Path, last: str, files: Sequence[tuple[str, int]]) -> None:
    """Those of the full export ``last``, whose segments left them in files of these names, each of so many lines.

    Where one is gone or not whole, or an item is there twice, there are none: a comparison makes them then.
    """
    folder = place / SEGMENTS
    forget_digests(place)
    with suppress(_NotWhole):
        save_digests(place, last, (_unsealed(folder / name, lines) for name, lines in files))
        found = load_digests(place, last, sum(lines for _, lines in files))
        if found is None or not found.all_differ():
            forget_digests(place)
    rmtree(folder, ignore_errors=True)


class _NotWhole(Exception): ...


def _unsealed(path: Path, lines: int) -> bytes:
    data = path.read_bytes() if path.exists() else b""
    digests, seal = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if seal != digest_of(digests) or len(digests) != lines * DIGEST_BYTES:
        raise _NotWhole
    return digests


def _head(last: str, lines: int, blocks: Iterable[bytes]) -> dict[str, object]:
    whole = blake2b(digest_size=DIGEST_BYTES)
    for block in blocks:
        whole.update(block)
    return {"format": _FORMAT, "last": last, "lines": lines, "digest": whole.hexdigest()}


def _blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _places(block: bytes | bytearray, value: bytes) -> Iterator[int]:
    """Which of the block's values, each as long as this one, are it."""
    size = len(value)
    at = block.find(value)
    while at >= 0:
        if not at % size:
            yield at // size
        at = block.find(value, at - at % size + size)
