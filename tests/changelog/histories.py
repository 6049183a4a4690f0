"""Histories for the tests of the change log: transactions that can be told apart, and how to read a log back whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from whimbrel.changelog.files import ChangeLogReader, ChangeLogWriter, LogPoint
from whimbrel.records import Change, Column, Commit, Position, Row, Table

Transaction = tuple[list[Change], Commit]

PURCHASE = Table("shop", "purchase", (Column("id", "int"), Column("note", "text")), ("id",))
PICTURE = Table("shop", "picture", (Column("id", "int"), Column("data", "binary")), ("id",))


def transaction(number: int, changes: int = 3) -> Transaction:
    """The ``number``-th transaction: every value in it says so."""
    made = []
    for i in range(changes):
        table = PICTURE if i % 2 else PURCHASE
        image: Row = (number * 1000 + i, f"{number}\n".encode() if i % 2 else f"Grüße\n{number}")
        before, after = [(None, image), (image, image), (image, None)][i % 3]
        made.append(Change(table, before, after, Position("bin.000001", number * 1000 + i)))
    end = number * 1000 + 999
    return made, Commit(Position("bin.000001", end, f"0-1-{number}"), 1_700_000_000.25 + number)


def transactions(numbers: Iterable[int]) -> list[Transaction]:
    return [transaction(number, changes=number % 5) for number in numbers]


def append(writer: ChangeLogWriter, history: Iterable[Transaction]) -> None:
    for changes, commit in history:
        for change in changes:
            writer.append([change])
        writer.commit(commit)


def entries(history: Iterable[Transaction]) -> list[Change | Commit]:
    found: list[Change | Commit] = []
    for changes, commit in history:
        found += [*changes, commit]
    return found


def read_all(folder: Path, start: LogPoint | None = None, limit: int = 7) -> list[Change | Commit]:
    with ChangeLogReader(folder, start) as reader:
        found: list[Change | Commit] = []
        while some := reader.read(limit):
            assert len(some) <= limit
            found += some
        return found
