"""Parquet parts from exported files: each item exactly, in bounded memory, or refused by name.

A part is written under the types as they are known. Where a value shows that one was too narrow, a new segment is begun
under the wider one; in the end, earlier segments are brought to the final types, or their files read again where that
cannot be done. So nearly every file is read once, though no type was known beforehand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from whimbrel.errors import StateError, Stopped
from whimbrel.lake import fast, sources
from whimbrel.lake.change_lines import is_readable, rows_of
from whimbrel.lake.items import BadLine
from whimbrel.lake.known_types import KnownTypes, plan_of
from whimbrel.lake.lines import check_whole, lines
from whimbrel.lake.need import need
from whimbrel.lake.refused import Refused, shown_text
from whimbrel.lake.segments import Part, PartWriter, rewrite
from whimbrel.lake.sources import Line, Record, SourceFile
from whimbrel.lake.types import Type
from whimbrel.lake.values import widens
from whimbrel.records import Item

MOST_STRANGE = 10_000  # lines read one by one before a file is read again under what they showed
# Of packed files that become one part. More bytes make fewer files; fewer let more threads have a share of the work.
MOST_BYTES, FEWEST_BYTES = 32 << 20, 1 << 20
_BATCH_BYTES = 16 << 20  # of lines that DuckDB reads at once
_BYTES_AT_ONCE = (
    256 << 10
)  # of lines that are read one by one: few enough that their items stay in the processor's cache
_CHANGED_AT_ONCE = 1 << 20  # bytes of changes that PyArrow parses at once
_MOST_ROWS, _FEWEST_ROWS = 122_880, 2_048
_LOOK_LINES, _MOST_LOOKS, _FEWEST_LOOKS = 200, 2_000, 20  # of one file; of all, which are read one after the other
_HEAD_BYTES = 256 << 10  # of a file in S3, to look at its first lines
_AT_ONCE = 4_096  # records read one by one before they become a batch


class PartMaker:
    """Makes the parts of one conversion; ``make`` may run in several threads at once.

    With ``sequence`` the part is a delta: it has deletions, and numbers that say which row is the later one.
    """

    def __init__(
        self,
        columns: KnownTypes,
        *,
        flatten: bool = False,
        stop: threading.Event | None = None,
        on_items: Callable[[int], None] = lambda items: None,
    ) -> None:
        self._columns = columns
        self._flatten = flatten
        self._stop = stop or threading.Event()
        self._on_items = on_items
        self._slow: set[str] = set()  # files that DuckDB could not read to the end

    def make(self, stem: Path, group: Sequence[SourceFile], sequence: int | None = None) -> Part:
        """Segments are ``<stem>-0.parquet`` and so on. Raises LogCorrupt when a file has not as many items as its
        export says, StateError, Stopped.
        """
        for leftover in stem.parent.glob(f"{stem.name}-*"):
            leftover.unlink()
        part = Part()
        with PartWriter(stem, part, self._columns, self._flatten, sequence) as writing:
            for each in group:
                with sources.here(each) as source:
                    seen = self._add(source, writing)
                    writing.add_held(source)
                if part.again:
                    break
                sources.check_count(source, seen)
        return part

    def settle(self, part: Part) -> bool:
        """Bring every segment to the final types; False where the part must be made again."""
        types = self._columns.types()
        for segment in part.segments:
            changed = {name: kind for name, kind in types.items() if segment.types.get(name, kind) != kind}
            if not all(widens(segment.types[name], kind) for name, kind in changed.items()):
                return False
            if changed:
                rewrite(segment, types, self._columns.exclude, self._flatten)
        return True

    def _add(self, source: SourceFile, writing: PartWriter) -> int:
        types = dict(writing.types)
        plan = plan_of(types)
        quick = writing.sequence is None and source.place not in self._slow and fast.readable(plan, source)
        # DuckDB has 2,048 lines at once, however long they are.
        if quick and (rows := _batch_rows(source)) >= _FEWEST_ROWS:
            duckdb = need("duckdb", "lake")
            before = (writing.part.rows, writing.part.refusals)
            if source.items is None:
                check_whole(source.path)  # DuckDB passes over gzip's checksum, and loose files have no other
            try:
                return self._add_fast(source, types, writing, rows)
            except (duckdb.Error, OSError):  # a damaged line ends DuckDB's reading: find it, and keep the others
                self._slow.add(source.place)
            if before != (writing.part.rows, writing.part.refusals):
                writing.part.again = True  # what was written of the file cannot be undone
                return 0
        if source.form == "incremental":
            return self._add_changes(source, writing)
        return self._add_lines(source, sources.read(source), writing)

    def _add_fast(self, source: SourceFile, types: dict[str, Type], writing: PartWriter, rows: int) -> int:
        seen, strange, bad = 0, 0, set[bytes]()
        plan = plan_of(types)
        for batch in fast.read(source, plan, rows):
            self._look()
            seen += len(batch.texts) + len(batch.strange)
            self._on_items(len(batch.texts) + len(batch.strange))
            strange += len(batch.strange)
            writing.add_texts(source, batch.texts, types)
            records: list[Record] = []
            for line in batch.strange:
                try:
                    records.append(sources.read_line(line, source.form))
                except BadLine:
                    bad.add(line)
            writing.add_records(source, records)
            if strange > MOST_STRANGE and plan != plan_of(writing.types):
                writing.part.again = True  # under the new plan most of them are not strange any more
                return seen
        if bad:
            for found in sources.read(source):
                if found.text in bad:
                    writing.refuse(Refused(source.place, found.number, {}, found.fault, shown_text(found.text)))
        return seen

    def _add_changes(self, source: SourceFile, writing: PartWriter) -> int:
        """Many at once; the rest of the file one by one, when that was not to be had."""
        seen, together = 0, True
        for texts in _chunks(lines(source.path), _CHANGED_AT_ONCE):
            plan = plan_of(writing.types)
            together = together and is_readable(plan, self._columns.key)
            if together and (rows := rows_of(texts, plan, self._columns.key)):
                self._look()
                writing.hold(source, *rows)
                self._on_items(len(texts))
            else:
                together = False
                found = (sources.checked(source, number, text) for number, text in enumerate(texts, seen + 1))
                self._add_lines(source, found, writing)
            seen += len(texts)
        return seen

    def _add_lines(self, source: SourceFile, found: Iterable[Line], writing: PartWriter) -> int:
        seen, held, records = 0, 0, list[Record]()
        for line in found:
            seen += 1
            held += len(line.text)
            if line.record is None:
                writing.refuse(Refused(source.place, line.number, {}, line.fault, shown_text(line.text)))
            else:
                records.append(line.record)
            if len(records) >= _AT_ONCE or held >= _BYTES_AT_ONCE:
                self._look()
                writing.add_records(source, records)
                self._on_items(len(records))
                held, records = 0, []
        writing.add_records(source, records)
        self._on_items(len(records))
        return seen

    def _look(self) -> None:
        if self._stop.is_set():
            raise Stopped("asked to stop before the conversion was done")


def make_parts(
    workshop: Path, groups: Sequence[Sequence[SourceFile]], maker: PartMaker, workers: int, sequence: int | None = None
) -> list[Part]:
    """A part for each group, all under the same types in the end."""
    kind = "part" if sequence is None else "delta"

    def make(number: int) -> Part:
        return maker.make(workshop / f"{kind}-{number:05d}", groups[number], sequence)

    parts: dict[int, Part] = {}
    left = list(range(len(groups)))
    with ThreadPoolExecutor(max(1, min(workers, len(groups)))) as pool:
        while left:
            parts |= zip(left, pool.map(make, left), strict=True)
            left = [number for number, part in parts.items() if part.again or not maker.settle(part)]
    return [parts[number] for number in range(len(groups))]


def groups_of(files: Sequence[SourceFile], workers: int) -> list[list[SourceFile]]:
    """Some for each of ``workers``, so that none is left alone with much of it in the end."""
    sizes = [source.size for source in files]
    enough = min(MOST_BYTES, max(FEWEST_BYTES, sum(sizes) // (4 * workers)))
    groups: list[list[SourceFile]] = [[]]
    held = 0
    for source, size in zip(files, sizes, strict=True):
        if held >= enough:
            groups.append([])
            held = 0
        groups[-1].append(source)
        held += size
    return groups


def look_at(columns: KnownTypes, listed: Sequence[SourceFile]) -> None:
    """See the first items of each file, so that most parts are begun under the right types."""
    lines = max(_FEWEST_LOOKS, min(_LOOK_LINES, _MOST_LOOKS // max(1, len(listed))))
    for source in listed:
        for item in _first_items(source, lines):
            columns.see(item)


def look_at_all(columns: KnownTypes, listed: Sequence[SourceFile], stop: threading.Event | None) -> None:
    """See every item of the files. Raises what reading raises, Stopped."""
    for found in listed:
        with sources.here(found) as source:
            for line in sources.read(source):
                if line.record is not None:
                    columns.see(_item_of(line.record))
                if stop and stop.is_set():
                    raise Stopped("asked to stop before the conversion was done")


def _item_of(record: Record) -> Item:
    """The item, or the key of a deleted one."""
    return (record.item if record.item is not None else record.keys) or {}


def _first_items(found: SourceFile, lines: int) -> Iterator[Item]:
    with sources.here(found, _HEAD_BYTES) as source, cut_off(source):
        for line in sources.read(source):
            if line.record is not None:
                yield _item_of(line.record)
            if line.number >= lines:
                return


@contextmanager
def cut_off(source: SourceFile) -> Iterator[None]:
    """Of a file of which only the beginning is here, that it ends too early is no fault."""
    try:
        yield
    except StateError:
        if source.size <= _HEAD_BYTES or source.stored is None:
            raise


def _chunks(found: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """The lines, so many bytes of them at once and one more."""
    held, size = list[bytes](), 0
    for line in found:
        held.append(line)
        size += len(line)
        if size >= most:
            yield held
            held, size = [], 0
    if held:
        yield held


def _batch_rows(source: SourceFile) -> int:
    """As many rows as make some megabytes, by the length of the first lines; fewer than _FEWEST_ROWS of long ones."""
    lengths = [len(text) for text in islice(lines(source.path), 100)]
    return min(_MOST_ROWS, int(_BATCH_BYTES * len(lengths) / max(1, sum(lengths))))
