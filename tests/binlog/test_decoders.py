"""A table that is not what its rows were written with is noticed: column by column, for all that a table map says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from tests.binlog.recorded import load
from whimbrel.errors import SchemaDrift
from whimbrel.mysql.binlog import temporal
from whimbrel.mysql.binlog.column_readers import column_reader
from whimbrel.mysql.binlog.decoders import make_decoder
from whimbrel.mysql.binlog.events import parse_table_map
from whimbrel.mysql.binlog.metadata import check_metadata, column_names
from whimbrel.records import Column

SERVERS = ["mariadb", "mariadb-11.8", "mysql"]
# What each kind shares its bytes with: nothing but the names of the types can tell these apart.
ALIKE = [
    {"text", "json"},
    {"binary", "uuid", "inet4", "inet6"},
    {"text", "uuid", "inet4", "inet6"},
    {"binary", "text", "json"},  # by the character set alone, where the table map has it
]
KINDS = {
    *("int", "year", "bit", "decimal", "float", "double", "date", "datetime", "timestamp", "time"),
    *("text", "enum", "set", "json", "uuid", "inet4", "inet6", "binary", "geometry"),
}

SIZES = {
    "bit": ["precision"],
    "decimal": ["precision", "scale"],
    "time": ["scale"],
    "datetime": ["scale"],
    "timestamp": ["scale"],
}


class Written:
    """A table and the table map that its rows were written with."""

    def __init__(self, name: str) -> None:
        recording = load(name)
        self.table, self.charsets = recording.tables["t"], recording.session.charsets
        self.mariadb = recording.session.mariadb
        self.map = parse_table_map(next(packet[1:-4] for packet in recording.packets if packet[5] == 19))

    def read(self, number: int, column: Column) -> None:
        """As if the table had ``column`` there. Raises SchemaDrift."""
        columns = (*self.table.columns[:number], column, *self.table.columns[number + 1 :])
        table = replace(self.table, columns=columns)
        check_metadata(self.map, table, self.charsets, mariadb=self.mariadb)

    def reader(self, number: int, column: Column) -> None:
        """The same, by what has nothing to do with the metadata."""
        column_reader(self.map.types[number], self.map.metadata[number], column, place=f"{number}")


written_by = cache(Written)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Texts of dates are kept from one use to the next."""
    temporal._dates.clear()
    temporal._days.clear()


@pytest.fixture(params=SERVERS)
def full(request: pytest.FixtureRequest) -> Written:
    """With binlog_row_metadata = FULL."""
    return written_by(f"{request.param}-types-full")


@pytest.fixture(params=[f"{server}-types-{metadata}" for server in SERVERS for metadata in ("least", "full")])
def written(request: pytest.FixtureRequest) -> Written:
    return written_by(request.param)


def test_the_table_itself_is_taken(written: Written) -> None:
    check_metadata(written.map, written.table, written.charsets, mariadb=written.mariadb)
    for number, column in enumerate(written.table.columns):
        written.reader(number, column)


def test_another_kind(written: Written) -> None:
    refused = 0
    for number, column in enumerate(written.table.columns):
        for kind in KINDS - {column.kind}:
            if not any({kind, column.kind} <= alike for alike in ALIKE):
                with pytest.raises(SchemaDrift):
                    written.reader(number, replace(column, kind=kind))
                refused += 1
    assert refused > 1000


def test_other_names_members_signs_and_character_sets(full: Written) -> None:
    seen: set[str] = set()
    for number, column in [*enumerate(full.table.columns)][1::2]:  # half of them: each type twice
        for other in others(column):
            seen |= {name for name in ("name", "unsigned", "charset", "members") if differs(column, other, name)}
            with pytest.raises(SchemaDrift, match=rf"{full.table.full_name}.{other.name}: |^{full.table.full_name}"):
                full.read(number, other)
    assert seen == {"name", "unsigned", "charset", "members"}


def others(column: Column) -> Iterator[Column]:
    yield replace(column, name=column.name + "x")
    if column.kind == "int":
        yield replace(column, unsigned=not column.unsigned)
    if column.kind == "text":
        yield replace(column, charset="latin2" if column.charset != "latin2" else "latin1")
    if column.members:
        yield replace(column, members=column.members[1:])
        yield replace(column, members=(*column.members, "one more"))
        yield replace(column, members=(*column.members[:-1], column.members[-1] + "x"))


def differs(one: Column, other: Column, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def test_other_sizes(written: Written) -> None:
    """Of what is written with a size of its own, whatever the metadata."""
    seen: set[str] = set()
    for number, column in enumerate(written.table.columns):
        for name in SIZES.get(column.kind, []):
            for more in (1, -1):
                with pytest.raises(SchemaDrift, match="its rows have"):
                    written.reader(number, replace(column, **{name: getattr(column, name) + more}))
            seen.add(column.kind)
        if column.type_name.startswith("binary"):
            with pytest.raises(SchemaDrift, match="bytes"):
                written.reader(number, replace(column, length=column.length - 1))
            seen.add("binary")
    assert seen == {"bit", "decimal", "time", "datetime", "timestamp", "binary"}


def test_another_number_of_columns(full: Written) -> None:
    more = replace(full.table, columns=(*full.table.columns, full.table.columns[1]))
    for table in (replace(full.table, columns=full.table.columns[:-1]), more):
        with pytest.raises(SchemaDrift, match=f"{len(full.table.columns)} columns, and {len(table.columns)} are known"):
            make_decoder(full.map, table, full.charsets, mariadb=full.mariadb)


def test_names_are_known_only_with_full_metadata() -> None:
    full = written_by("mysql-types-full")
    assert column_names(full.map) == [column.name for column in full.table.columns]
    assert column_names(written_by("mysql-types-least").map) == []


def test_a_collation_that_is_not_known_is_not_checked(full: Written) -> None:
    column = replace(full.table.columns[0], name="id")
    number = next(i for i, column in enumerate(full.table.columns) if column.charset == "utf8mb4")
    text = replace(full.table.columns[number], charset="latin1")
    table = replace(
        full.table, columns=(column, *full.table.columns[1:number], text, *full.table.columns[number + 1 :])
    )
    check_metadata(full.map, table, {}, mariadb=full.mariadb)
    with pytest.raises(SchemaDrift, match="character set"):
        check_metadata(full.map, table, full.charsets, mariadb=full.mariadb)


# Tables of one column, row by row, in the bytes that the servers' sources name.


# Compressed columns and JSON that servers seldom write
