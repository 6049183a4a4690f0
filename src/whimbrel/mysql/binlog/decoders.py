"""Row decoders, generated once for each table map: Python source with every type and length written out.

A decoder turns the rows of one event into Changes. What a column's bytes mean is in ``column_readers.py``; here is the
frame around it: the null bitmap, the two images of an update, and the test that the rows fill the event exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from whimbrel.errors import SchemaDrift, UndecodableEvent
from whimbrel.mysql.binlog import codes
from whimbrel.mysql.binlog.column_readers import Reader, column_reader
from whimbrel.mysql.binlog.events import TableMap
from whimbrel.mysql.binlog.metadata import check_metadata, column_names
from whimbrel.mysql.binlog.refused import REDEFINED
from whimbrel.records import Change, Column, Position, Table

Decode = Callable[[bytes, int, int, Table, Position], list[Change]]


class Decoder(NamedTuple):
    """``insert``, ``update`` and ``delete`` take an event, where its rows begin and end, the table and the Position."""

    table: Table
    insert: Decode
    update: Decode
    delete: Decode
    heads: tuple[bytes, ...]  # column count and bitmap of full images: bits beyond the last column are set or not
    update_heads: tuple[bytes, ...]  # the same with the second bitmap of an update
    text: str
    without_hidden: Decoder | None = None  # for images that leave out the columns that the server hides


def make_decoder(
    table_map: TableMap,
    table: Table,
    charsets: Mapping[int, str],
    *,
    mariadb: bool,
    hidden: Callable[[], int] = lambda: 0,
) -> Decoder:
    """``hidden`` asks the server how many columns it keeps behind those that it names: see ``_hidden``.

    Raises SchemaDrift if the rows were written with other columns than the table has.
    """
    written = replace(table, columns=table.columns + _hidden(table_map, len(table.columns), hidden, mariadb=mariadb))
    if len(table_map.types) != len(written.columns):
        raise SchemaDrift(
            f"its rows have {len(table_map.types)} columns, and {len(table.columns)} are known",
            place=table.full_name,
            hint=REDEFINED,
        )
    check_metadata(table_map, written, charsets, mariadb=mariadb)
    readers = [
        column_reader(kind, metadata, column, place=f"{table.full_name}.{column.name}")
        for kind, metadata, column in zip(table_map.types, table_map.metadata, written.columns, strict=True)
    ]
    shown = len(table.columns)
    whole = _decoder(table, readers, table_map.nullable, len(readers))
    if shown == len(readers):
        return whole
    return whole._replace(without_hidden=_decoder(table, readers[:shown], table_map.nullable, len(readers)))


def _decoder(table: Table, readers: Sequence[Reader], nullable: Sequence[bool], columns: int) -> Decoder:
    """Of images that have the first of the ``columns`` in the table map, as many as there are ``readers``."""
    constants: dict[str, Any] = {"Change": Change, "new": tuple.__new__, "misfit": _misfit}
    text = "\n\n".join(
        _function(name, images, readers, nullable[: len(readers)], constants, len(table.columns))
        for name, images in (("insert", "a"), ("update", "ba"), ("delete", "b"))
    )
    exec(compile(text, f"<decoder of {table.full_name}>", "exec"), constants)
    count = bytes([columns]) if columns < 251 else b"\xfc" + struct.pack("<H", columns)
    size = (columns + 7) // 8
    there, beyond = (1 << len(readers)) - 1, (1 << 8 * size) - (1 << columns)
    bitmaps = [bits.to_bytes(size, "little") for bits in (there | beyond, there)]
    heads, update_heads = (tuple(count + bitmap * n for bitmap in bitmaps) for n in (1, 2))
    insert, update, delete = (constants[name] for name in ("insert", "update", "delete"))
    return Decoder(table, insert, update, delete, heads, update_heads, text)


def _hidden(table_map: TableMap, known: int, hidden: Callable[[], int], *, mariadb: bool) -> tuple[Column, ...]:
    """MariaDB's columns for the hashes of its long unique keys (``UNIQUE (text)``), one a key: behind all others, and
    never shown but in row images; 11.8 leaves them out of those of an UPDATE and a DELETE. They are what the table map
    says they are, or as many as the table has such keys: any other column at the end is one that nobody told us of.
    """
    behind = table_map.types[known:]
    names = [f"DB_ROW_HASH_{number}" for number in range(1, len(behind) + 1)]
    if not mariadb or not behind or set(behind) != {codes.LONGLONG}:
        return ()
    said = column_names(table_map)
    sound = said[known:] == names if said else len(behind) == hidden()
    return tuple(Column(name, "int", unsigned=True) for name in names) if sound else ()


def _misfit(at: int, end: int) -> None:
    raise UndecodableEvent(f"its rows end at byte {at}, the event at {end}")


def _function(
    name: str, images: str, readers: Sequence[Reader], nullable: Sequence[bool], constants: dict[str, Any], shown: int
) -> str:
    """``shown``: how many of the columns a Row has; those behind are read and left."""
    lines = [f"def {name}(data, pos, end, table, position):", "    changes = []", "    append = changes.append"]
    lines.append("    while pos < end:")
    values = {"b": "None", "a": "None"}
    for image in images:
        lines += [f"        {line}" for line in _image(image, readers, nullable, constants)]
        values[image] = f"({''.join(f'{image}{i}, ' for i in range(shown))})"
    lines.append(f"        append(new(Change, (table, {values['b']}, {values['a']}, position)))")
    lines += ["    if pos != end:", "        misfit(pos, end)", "    return changes"]
    return "\n".join(lines)


def _image(image: str, readers: Sequence[Reader], nullable: Sequence[bool], constants: dict[str, Any]) -> list[str]:
    size = (len(readers) + 7) // 8
    full = _run_together(image, readers, constants)
    if not any(nullable):
        return [f"pos += {size}", *full]
    mask = sum(1 << i for i, can_be_null in enumerate(nullable) if can_be_null)
    bits = "data[pos]" if size == 1 else f"int.from_bytes(data[pos : pos + {size}], 'little')"
    lines = [f"nulls = {bits} & {mask}", f"pos += {size}", "if nulls:"]
    for i, reader in enumerate(readers):
        target = f"{image}{i}"
        body = reader.lines(target, constants)
        if nullable[i]:
            lines += [f"    if nulls & {1 << i}:", f"        {target} = None", "    else:"]
            lines += [f"        {line}" for line in body]
        else:
            lines += [f"    {line}" for line in body]
    return [*lines, "else:", *(f"    {line}" for line in full)]


def _run_together(image: str, readers: Sequence[Reader], constants: dict[str, Any]) -> list[str]:
    """The columns of a row without NULLs; neighbours of fixed size are unpacked in one call."""
    lines: list[str] = []
    i = 0
    while i < len(readers):
        stop = i
        while stop < len(readers) and readers[stop].code:
            stop += 1
        if stop > i:
            lines += unpack_lines([f"{image}{n}" for n in range(i, stop)], [r.code for r in readers[i:stop]], constants)
            i = stop
        else:
            lines += readers[i].lines(f"{image}{i}", constants)
            i += 1
    return lines


def unpack_lines(targets: Sequence[str], codes: Sequence[str], constants: dict[str, Any]) -> list[str]:
    layout = struct.Struct("<" + "".join(codes))
    name = "unpack_" + "".join(codes)
    constants[name] = layout.unpack_from
    return [f"{', '.join(targets)}, = {name}(data, pos)", f"pos += {layout.size}"]
