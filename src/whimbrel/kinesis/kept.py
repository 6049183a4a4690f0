"""Changes that no record of the stream takes: each is an object of the project's bucket, and a record refers to it.

The object is there before the record is put, and is called by the digest of what it holds. So whoever sends a change
again finds the object, or makes the same one, and whoever reads it knows that it is whole.
"""

from __future__ import annotations

import gzip
import zlib
from hashlib import sha256
from typing import NamedTuple

from whimbrel.bucket import Bucket
from whimbrel.kinesis.packed import KeptLine, Packed, Unreadable

CHANGES = "changes"  # the folder, below the prefix of snapshot.store
_LEVEL, _GZIP = 1, 31  # as zlib has it


class KeptChanges(NamedTuple):
    """Of one project, in its ``bucket``. Each call raises what Bucket does."""

    bucket: Bucket

    def put(self, line: bytes) -> KeptLine:
        """Durable when it returns. ``line`` is one of the change log, without its newline."""
        kept = KeptLine(sha256(line).hexdigest(), len(line))
        data = gzip.compress(line, _LEVEL, mtime=0)
        if not self.bucket.put_new(_name(kept), data):  # what is there was packed otherwise, or is damaged
            _, version = self.bucket.read(_name(kept))
            self.bucket.replace(_name(kept), data, version)
        return kept

    def whole(self, packed: Packed) -> Packed:
        """The record with its change. Raises Unreadable if that is not there, or not what the record says."""
        kept = packed.kept
        return packed if kept is None else packed._replace(lines=[self._line(kept)], kept=None)

    def _line(self, kept: KeptLine) -> bytes:
        where = self.bucket.url(_name(kept))
        data = self.bucket.get(_name(kept))
        if data is None:
            raise Unreadable(f"{where} is not there")
        try:
            line = zlib.decompressobj(_GZIP).decompress(data, kept.size + 1)
        except zlib.error as error:
            raise Unreadable(f"{where} is damaged: {error}") from error
        if (len(line), sha256(line).hexdigest()) != (kept.size, kept.sha256):
            raise Unreadable(f"{where} is not what the record says")
        return line


def _name(kept: KeptLine) -> str:
    return f"{CHANGES}/{kept.sha256}.json.gz"
