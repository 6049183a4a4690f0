"""Which refused items are settled: those whose key has been written or deleted since.

Each data set lists all that is not in it. An item goes from the list when a later export has its key, and a new full
export begins a list of its own. A line that could not be read has no key: it stays until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whimbrel.item import key_id
from whimbrel.lake import sources
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.refused import Refused, read_refused
from whimbrel.lake.segments import Part
from whimbrel.lake.sources import SourceFile


def still_refused(
    folder: Path, present: Manifest, key: Sequence[str], files: Sequence[SourceFile], parts: Sequence[Part]
) -> tuple[list[Refused], int]:
    """What is not in the data set after the changes in ``files``, of which ``parts`` were made, and how many that are.

    Some may be counted without being named, where there were too many.
    """
    carried = read_refused(folder, present)
    unnamed = present.refused - len(carried)
    left = _unsettled(carried, key, files) if carried else []
    new = [each for part in parts for each in part.refused]
    return left + new, len(left) + unnamed + sum(part.refusals for part in parts)


def _unsettled(carried: list[Refused], key: Sequence[str], files: Sequence[SourceFile]) -> list[Refused]:
    identities = [key_id(each.key) if each.key.keys() >= set(key) else None for each in carried]
    waiting = {each for each in identities if each is not None}
    if waiting:
        for each in files:
            with sources.here(each) as source:
                for line in sources.read(source):
                    if line.record is not None and line.record.keys:
                        waiting.discard(key_id(line.record.keys))
    return [one for one, identity in zip(carried, identities, strict=True) if identity is None or identity in waiting]
