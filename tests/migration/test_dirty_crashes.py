"""Random changes, mappings, verifications and crashes: whatever differs in source or target from what a verification
saw is dirty, once what a crash took is applied again.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.migration.applied import TABLES, Applied
from whimbrel.errors import PrivilegeError
from whimbrel.item import key_id
from whimbrel.mapping.versions import Versions
from whimbrel.migration import apply, dirty
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.verified import Verified, write_verified
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Item, Position, Row, Table

# Rows that a filter leaves out; and rows without an item, where n is NULL, or without an entry, where the name is.
FILTERED = TableRule("shop.one", "items", "record", KeyRule("pk", "one#${id}"), nulls="omit", filter="name <> 'c'")
GROUPED = TableRule("shop.two", "items", "group", KeyRule("pk", "two#${n}"), entry_name="${name}", entry_value="id")
KEYS, NAMES, NUMBERS = range(1, 6), ("a", "b", "c", None), (1, 2, None)


class Disk:
    """What of the dirty keys a power cut leaves: of each file, at least what was synced."""

    def __init__(self) -> None:
        self.synced: dict[str, int] = {}
        self._sync = os.fsync

    def sync(self, descriptor: int) -> None:
        self._sync(descriptor)
        self.synced[os.readlink(f"/proc/self/fd/{descriptor}")] = os.fstat(descriptor).st_size

    def power_cut(self, folder: Path, chance: random.Random) -> None:
        for path in folder.glob("0*.jsonl"):
            size = path.stat().st_size
            os.truncate(path, chance.randint(min(self.synced.get(str(path), 0), size), size))


class World(Applied):
    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder)
        self.disk = disk
        rules = (FILTERED, GROUPED)
        self.versions = {rule.source: Versions(rule, table) for rule, table in zip(rules, TABLES, strict=True)}
        self.applying = self.applier()
        self.seen: list[tuple[Verified, dict[bytes, Item], dict[bytes, Item]]] = []

    def change(self, table: int, key: int, name: str | None, number: int | None, *, gone: bool) -> None:
        before = self.rows[TABLES[table].full_name].get(key)
        after: Row | None = None if gone else (key, name, number)
        if before is not None or after is not None:
            self.transaction(Change(TABLES[table], before, after, Position("", 0)))

    def break_off(self, after: int) -> None:
        """The process is killed within a batch, after so many calls; the last one may have been carried out."""
        calls = iter(range(1000))

        def dies(operation: str, body: Any) -> None:
            if next(calls) >= after:
                raise PrivilegeError("stands for a SIGKILL")

        self.wire.disturb = dies
        try:
            self.applying.step()
        except PrivilegeError:
            self.restart()
        self.wire.disturb = lambda operation, body: None

    def restart(self) -> None:
        self.applying = self.applier()

    def power_cut(self, chance: random.Random) -> None:
        self.disk.power_cut(self.folder / "dirty", chance)
        self.restart()

    def verify(self) -> None:
        """Begins, and finds no difference: what is different from now on must be dirty. It does find one where a row
        cannot be mapped.
        """
        if any("fault" in item for item in self.expected_items().values()):
            return
        at = dirty_since(self.folder, None)
        assert at.place is not None
        self.seen.append((Verified(at.position, 0.0, {}, "", at.place), self.expected_items(), self.found_items()))
        write_verified(self.folder, self.seen[-1][0])

    def expected_items(self) -> dict[bytes, Item]:
        items: dict[bytes, Item] = {}
        for source, versions in self.versions.items():
            table: Table = versions.first
            puts, faults = versions.of(table).put_items(list(self.rows[source].values()))
            items |= {key_id(put.key): put.item for put in puts}
            items |= {key_id(each.item_key): {"fault": {"S": each.reason}} for each in faults if each.item_key}
        return items

    def found_items(self) -> dict[bytes, Item]:
        return {key_id({"pk": item["pk"]}): item for item in self.wire.table("items").values()}

    def drain(self) -> None:
        while self.applying.step():
            pass
        self.applying.save()

    def check(self) -> None:
        self.drain()
        for verified, expected, found in self.seen[-3:]:
            changed = differing(expected, self.expected_items()) | differing(found, self.found_items())
            now = dirty_since(self.folder, verified)
            if verified is self.seen[-1][0]:
                assert not now.everything, now.everything
            if not now.everything:
                assert changed <= now.texts.get("items", set())


def differing(one: dict[bytes, Item], other: dict[bytes, Item]) -> set[bytes]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


@contextmanager
def world() -> Iterator[World]:
    disk = Disk()
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(os, "fsync", disk.sync),
        mock.patch.object(os, "fdatasync", disk.sync),
        mock.patch.object(dirty, "FILE_KEYS", 6),
        mock.patch.object(apply, "FIRST_BATCH", 4),
        mock.patch.object(apply, "SAVE_SECONDS", 1000.0),
    ):
        made = World(Path(name), disk)
        try:
            yield made
        finally:
            made.close()


CHANGES = st.tuples(
    st.just("change"),
    st.integers(0, 1),
    st.sampled_from(KEYS),
    st.sampled_from(NAMES),
    st.sampled_from(NUMBERS),
    st.booleans(),
)
STEPS = st.one_of(
    CHANGES,
    CHANGES,
    CHANGES,
    st.tuples(st.sampled_from(["step", "save", "cut", "verify", "kill", "check"])),
    st.tuples(st.just("break off"), st.integers(0, 3)),
    st.tuples(st.just("power cut"), st.integers(0, 1000)),
)


def taken(made: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("change", table, key, name, number, gone):
            made.change(table, key, name, number, gone=gone)
        case ("step",):
            made.applying.step()
        case ("save",):
            made.applying.save()
        case ("cut",):
            assert made.dirty is not None
            made.dirty.cut()
        case ("verify",):
            made.verify()
        case ("kill",):
            made.restart()
        case ("check",):
            made.check()
        case ("break off", calls):
            made.break_off(calls)
        case ("power cut", seed):
            made.power_cut(random.Random(seed))


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=50))
def test_whatever_differs_from_what_was_verified_is_dirty(steps: list[tuple[Any, ...]]) -> None:
    with world() as made:
        made.verify()
        for step in steps:
            taken(made, step)
        made.check()


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=1000, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=120))
def test_the_same_for_longer(steps: list[tuple[Any, ...]]) -> None:
    with world() as made:
        made.verify()
        for step in steps:
            taken(made, step)
        made.check()
