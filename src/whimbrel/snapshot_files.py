"""Export files: the rows of one chunk of a table, as zstd-compressed JSON lines. Made once, whole, and never changed.

The first line is a header (the table with its columns, the chunk with its bounds), the last a footer with the number
of rows and the CRC-32 of all lines before it; each line between is an array of rows, each row an array of canonical
values (records.py), bytes in base64. ``zstdcat chunk-00000001.jsonl.zst`` shows one to a person.

A file gets its final name only when it is durable, so the name is the record that the chunk is done. It may also be an
object of a bucket.
"""

from __future__ import annotations

import binascii
import contextlib
import dataclasses
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeAlias

import orjson
import zstandard

from whimbrel.durable import publish, writing
from whimbrel.errors import Locked, LogCorrupt, StateError
from whimbrel.records import Column, Row, Table, Value

FORMAT = "whimbrel-export/1"
LEVEL = 1  # of zstd: for rows in key order 3 costs twice as much CPU for files that are not smaller
PART = ".part"  # ends the name of a file that is not done
READ_AHEAD = 1 << 18  # bytes


class NewFile(Protocol):
    """What a file is written through: nothing of it is there before ``close``, which gives its size in bytes."""

    def write(self, data: bytes) -> object: ...
    def close(self) -> int: ...
    def abandon(self) -> object: ...


class ObjectFile(Protocol):
    """A file that is not on this machine's disk; ``open`` and ``size`` raise FileNotFoundError. ``close`` of what
    ``create`` gives raises FileExistsError where another one was first.
    """

    @property
    def name(self) -> str: ...
    def create(self) -> NewFile: ...
    def open(self, mode: str = ..., /) -> IO[bytes]: ...
    def size(self) -> int: ...
    def exists(self) -> bool: ...
    def unlink(self, missing_ok: bool = ...) -> object: ...


FilePath: TypeAlias = Path | ObjectFile


class Chunk(NamedTuple):
    """The rows with low < key <= high, in the server's own order and collation; None is "from the start" or "to the
    end".

    ``number`` counts from 1. ``key`` names the columns that the bounds are values of; () when the table is one single
    chunk.
    """

    number: int
    low: tuple[Value, ...] | None
    high: tuple[Value, ...] | None
    key: tuple[str, ...]


class ExportFile(NamedTuple):
    """A file that is done: ``bytes`` is its size on disk."""

    path: FilePath
    rows: int
    bytes: int
    chunk: Chunk


class ChunkWriter:
    """Writes one export file. ``close`` makes it durable and gives it its name, ``abandon`` removes it. ``export``
    names the export that it is part of. All raise StateError when the disk fails or is full.

    ``first`` is called when all is written, before the file gets its name.
    """

    def __init__(
        self,
        path: FilePath,
        table: Table,
        chunk: Chunk,
        export: str = "",
        *,
        first: Callable[[], object] = lambda: None,
    ) -> None:
        self.path, self.table, self.chunk, self.export, self.rows = path, table, chunk, export, 0
        self._first = first
        self._file: NewFile = _NewPath(path) if isinstance(path, Path) else path.create()
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._crc = 0
        self._plain = over_columns(len(table.columns), dict.fromkeys(_binary_columns(table), _to_base64))
        header = {"format": FORMAT, "export": export, "table": table_to_json(table), "chunk": chunk_to_json(chunk)}
        self._line(orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE))

    def write(self, rows: Sequence[Row]) -> None:
        """One line of rows: a few hundred are a good number."""
        self.rows += len(rows)
        self._line(orjson.dumps(self._plain(rows), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> ExportFile:
        """Durable when it returns."""
        self._sum = self._crc
        footer = {"rows": self.rows, "crc32": f"{self._sum:08x}"}
        self._line(orjson.dumps(footer, option=orjson.OPT_APPEND_NEWLINE))
        self._file.write(self._compressor.flush())
        self._first()
        try:
            return ExportFile(self.path, self.rows, self._file.close(), self.chunk)
        except FileExistsError:
            return self._of_another()

    def abandon(self) -> None:
        """Leave nothing behind; nothing happens if it is closed already. Raises nothing: there may be an error already,
        and what is left is removed by the next export.
        """
        self._file.abandon()

    def _of_another(self) -> ExportFile:
        """What has the name already: our own file, where the answer to a first try was lost, or somebody else's."""
        found = ChunkReader(self.path)
        ours = (self.export, self.table, self.chunk, self.rows, f"{self._sum:08x}")
        if (found.export, found.table, found.chunk, found.rows, found.sum) != ours:
            hint = "Let the other one continue. Give each migration a prefix of its own in the bucket."
            raise Locked("another whimbrel has written this chunk", place=str(self.path), hint=hint)
        return found.file

    def _line(self, line: bytes) -> None:
        self._crc = zlib.crc32(line, self._crc)
        if packed := self._compressor.compress(line):
            self._file.write(packed)


class _NewPath:
    """On the disk: under a temporary name until it is durable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + PART)
        with writing(self._part):
            self._file = self._part.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with writing(self._part):
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> int:
        with writing(self._path):
            size = self._file.tell()
            publish(self._file, self._path)
        return size

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._part.unlink(missing_ok=True)


class ChunkReader:
    """A whole export file. Iterating gives ``list[Row]``, one list for each line; it may be done again.

    Reading begins with a pass over the whole file that compares its checksum: a damaged file gives LogCorrupt before
    it gives a row. A file that has up to ``hold`` bytes, unpacked, is in memory from then on, and is read once.
    """

    def __init__(self, path: FilePath, hold: int = 0) -> None:
        self.path = path
        self._open = path.open if isinstance(path, Path) else _Fetched(path).open
        self._held = _Held(hold)
        header, footer = _checked_ends(path, self._open, self._held)
        self.rows, self.sum = int(footer["rows"]), str(footer["crc32"])
        self.export = str(header.get("export", ""))  # whimbrel 0.1.0 wrote none
        self.table = table_from_json(header["table"])
        self.chunk = chunk_from_json(header["chunk"])

    @property
    def file(self) -> ExportFile:
        size = self.path.stat().st_size if isinstance(self.path, Path) else self.path.size()
        return ExportFile(self.path, self.rows, size, self.chunk)

    def __iter__(self) -> Iterator[list[Row]]:
        return (rows for rows, _ in self.sized())

    def sized(self) -> Iterator[tuple[list[Row], int]]:
        """The rows of each line, and how many bytes the line has."""
        decode = line_decoder(self.table)
        count = 0
        with _lines(self.path, self._open) as lines:
            next(lines)
            while count < self.rows:
                line = next(lines)
                rows = decode(line)
                count += len(rows)
                yield rows, len(line)
            if count != self.rows or not next(lines).startswith(b'{"rows":'):
                raise _corrupt(self.path, f"its last line counts {self.rows} rows, but it has others")

    def lines(self) -> Iterator[bytes]:
        """The lines of rows as they are in the file. That they have ``rows`` rows is for whoever reads them to see."""
        with self._held.lines() or _lines(self.path, self._open) as lines:
            next(lines)
            while not (line := next(lines)).startswith(b'{"rows":'):
                yield line


def line_decoder(table: Table) -> Callable[[bytes], list[Row]]:
    """A function from a line of ``ChunkReader.lines`` to its rows."""
    binary = _binary_columns(table)
    decode = over_columns(len(table.columns), dict.fromkeys(binary, binascii.a2b_base64)) if binary else _tuples
    return lambda line: decode(orjson.loads(line))


class _Held:
    """Lines, as long as they have ``most`` bytes together."""

    def __init__(self, most: int) -> None:
        self._left, self._lines = most, list[bytes]()

    def add(self, line: bytes) -> None:
        self._left -= len(line)
        self._lines.append(line)
        if self._left < 0:
            self._lines.clear()

    def lines(self) -> contextlib.nullcontext[Iterator[bytes]] | None:
        return contextlib.nullcontext(iter(self._lines)) if self._left >= 0 and self._lines else None


class _Fetched:
    """An object that is read twice: one that is small is fetched once."""

    def __init__(self, file: ObjectFile) -> None:
        self._file = file
        self._held: bytes | None = None

    def open(self, _mode: str = "rb") -> IO[bytes]:
        if self._held is not None:
            return io.BytesIO(self._held)
        file = self._file.open("rb")
        if isinstance(file, io.BytesIO):
            self._held = file.getvalue()
        return file


def write_chunk(
    path: FilePath, table: Table, chunk: Chunk, export: str = "", *, first: Callable[[], object] = lambda: None
) -> ChunkWriter:
    return ChunkWriter(path, table, chunk, export, first=first)


def read_chunk(path: FilePath, hold: int = 0) -> ChunkReader:
    """Raises LogCorrupt when the file is gone, not whole, or not what was written; StateError when the disk fails."""
    return ChunkReader(path, hold)


def over_columns(width: int, functions: Mapping[int, Callable[[Any], Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    """A function over a list of rows that passes the columns of ``functions`` through them, except NULLs, and makes
    each row a tuple.

    Written as one list comprehension: a loop over the columns would cost several times as much for each row.
    """
    if not functions:
        return lambda rows: rows  # type: ignore[return-value]
    names = [f"v{index}" for index in range(width)]
    values = [f"None if v{i} is None else f{i}(v{i})" if i in functions else f"v{i}" for i in range(width)]
    text = f"lambda rows: [({', '.join(values)},) for ({', '.join(names)},) in rows]"
    made: Callable[[Sequence[Any]], list[Any]] = eval(text, {f"f{i}": function for i, function in functions.items()})
    return made


# asdict() takes ten times as long, for each chunk. What is looked up is no part of a table as it is stored.
_FIELDS = [field.name for field in dataclasses.fields(Column) if field.name != "looked_up"]


def table_to_json(table: Table) -> dict[str, Any]:
    columns = [{name: getattr(column, name) for name in _FIELDS} for column in table.columns]
    return {"schema": table.schema, "name": table.name, "columns": columns, "primary_key": list(table.primary_key)}


def table_from_json(data: Mapping[str, Any]) -> Table:
    columns = tuple(Column(**{**column, "members": tuple(column["members"])}) for column in data["columns"])
    return Table(data["schema"], data["name"], columns, tuple(data["primary_key"]))


def chunk_to_json(chunk: Chunk) -> dict[str, Any]:
    def plain(bound: tuple[Value, ...] | None) -> list[Any] | None:
        if bound is None:
            return None
        return [{"base64": _to_base64(value)} if isinstance(value, bytes) else value for value in bound]

    return {"number": chunk.number, "low": plain(chunk.low), "high": plain(chunk.high), "key": list(chunk.key)}


def chunk_from_json(data: Mapping[str, Any]) -> Chunk:
    def bound(values: list[Any] | None) -> tuple[Value, ...] | None:
        if values is None:
            return None
        return tuple(binascii.a2b_base64(value["base64"]) if isinstance(value, dict) else value for value in values)

    return Chunk(data["number"], bound(data["low"]), bound(data["high"]), tuple(data["key"]))


def _binary_columns(table: Table) -> list[int]:
    return [index for index, column in enumerate(table.columns) if column.kind in ("binary", "geometry")]


def _to_base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _tuples(rows: Sequence[Any]) -> list[Row]:
    return [tuple(row) for row in rows]


@contextlib.contextmanager
def _lines(path: FilePath, opened: Callable[[str], IO[bytes]]) -> Iterator[Iterator[bytes]]:
    """The file's lines; what decompression or parsing finds wrong is LogCorrupt, and so is a file that is gone."""
    try:
        with opened("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
            yield iter(io.BufferedReader(plain, READ_AHEAD))
    except (zstandard.ZstdError, orjson.JSONDecodeError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, str(error) or "ends too early") from error
    except FileNotFoundError as error:
        raise _corrupt(path, "is gone") from error
    except OSError as error:
        hint = "Repair the disk or fix the permissions of the file, and run the same command again."
        raise StateError(f"cannot be read: {error.strerror}", place=str(path), hint=hint) from error


def _checked_ends(
    path: FilePath, opened: Callable[[str], IO[bytes]], held: _Held
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and footer of a file whose checksum fits, all of whose lines are ``held``."""
    crc = 0
    with _lines(path, opened) as lines:
        first = last = next(lines)
        held.add(first)
        for line in lines:
            held.add(line)
            crc = zlib.crc32(last, crc)
            last = line
        footer, header = orjson.loads(last), orjson.loads(first)
        if header.get("format") != FORMAT:
            raise _corrupt(path, f"is not in the format {FORMAT}")
        if last is first or not last.endswith(b"\n") or footer.get("crc32") != f"{crc:08x}":
            raise _corrupt(path, "the checksum at its end does not match, or is missing")
        int(footer["rows"])
        return header, footer


_AGAIN = "Run the same command again: what is damaged is read from the source again; check the disk."


def _corrupt(path: FilePath, message: str) -> LogCorrupt:
    return LogCorrupt(message, place=str(path), hint=_AGAIN)
