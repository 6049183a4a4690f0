"""Changes of tables that look columns up, joined with the rows that they look up; and, where such a row changes, the
rows that look it up.

The order argument. What is made here depends on the rows of both sides as of one place in the change log, which
``JoinStore`` has, and on nothing else. Changes are taken one by one, in log order:

1. A change of a row that looks up writes what it is now, joined with the other side as of this place, and takes back
   the place that it had. Where what is looked up has no say in the place, that of the change's before image is it, as
   without look-ups, whatever the row found; what is left out now, or cannot be mapped, is taken from its own place.
2. Where it has a say (``Child.placed``), only the store knows the place: it is that of the stored row, joined. So the
   store is filled from what was loaded, and of a table in several rules one at most may be placed so; the others' items
   are taken back from the places that before images say, as in 1.
   A change of a row that is looked up is stored. The rows that look it up wait: they are written again at the end of
   the batch, in portions. Until then each counts as written with any of the values that the other side has had in the
   batch (``WaitingRows.olds``), and whatever takes it back takes back all of these places.
3. Each portion is acknowledged before the next is made, as batches are. How far they are is saved with the store. The
   applied Position does not pass the batch before nothing waits any more, and no other batch is read until then: so
   "caught up", a verification and a cutover wait for them too.
4. The store is durable before the Checkpoint passes the place that it is as of, and is ahead of the Checkpoint by this
   one save at most, which ``agree`` makes up for. So what is replayed after a crash is joined with what it was joined
   with the first time. What an interrupted attempt has written are places of states that the replay goes through too,
   wherever its batches end: it takes them back, or writes them for good.

Nobody else writes the store. Items that are put past the log (``retry``, ``refill``) are made of what the source joins;
the changes since, which are applied after, end in the same state.

A store that is missing while changes are applied, as after a return to the source, is made again (``join_fill``): of
what the source has now, which is newer than where the Checkpoint is. Then the target has other rows than the store, and
with other joins. So:

5. All rows of the store wait, and are written before anything else is applied, orphans as removed. What the log has of
   a row up to now is then applied over it, as it is after a load: the last change decides.
6. That is enough only where what is looked up has no say in the place: else a store that is missing is refused. A way
   back is refused there, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from whimbrel.changelog.record import LogPoint
from whimbrel.errors import StateError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import rules_by_table
from whimbrel.mapping.versions import Versions
from whimbrel.migration.join_plan import Bys, Found, Version, layout, plan
from whimbrel.migration.join_rows import BatchRows
from whimbrel.migration.join_store import ALL, AsOf, JoinStore, WaitingRows, understood
from whimbrel.migration.join_versions import Definitions
from whimbrel.migration.portions import Sized
from whimbrel.migration.regroup import record_of, row_of
from whimbrel.migration.state import CheckpointStore
from whimbrel.records import Change, Commit, Position, Row, Table

PORTION = 10_000  # joined changes that are folded together
MOST_OLDS = 4  # values of one key within a batch: each is one more place for each row that looks it up
CACHED = 20_000  # rows that are looked up, in memory

_Role = tuple[Change, Version | None, list[int]]
_UNREAD: Found = ()  # what no row can be: each of those that are kept has a column
_new = tuple.__new__  # a NamedTuple without the cost of its constructor


class Joins:
    """Of a project whose rules look something up; ``open`` or ``filling`` comes first. Raises StateError."""

    def __init__(self, path: Path, mappings: Mapping[str, TableMapping], versions: Mapping[str, Versions]) -> None:
        self._path = path
        self._kept, self._children = plan(mappings, versions)
        self._rules = rules_by_table(versions)
        self._parents: dict[str, list[int]] = {}
        for number, kept in enumerate(self._kept):
            self._parents.setdefault(kept.source, []).append(number)
        looks = [len(child.looks) for child in self._children]
        self._store = JoinStore(path, len(self._kept), looks, layout(self._kept, self._children))
        self._rows = [BatchRows(self._store, child.number) for child in self._children]
        self._definitions = Definitions(self._store, self._children, self._kept)
        self._waiting: dict[tuple[int, int, bytes], WaitingRows] = {}
        self._cache: list[dict[bytes, Found]] = [{} for _ in self._kept]
        self._saved = AsOf()
        self._crowded = False
        self._taken = 0
        self._at = Position("", 0)  # of the last change that was taken

    @property
    def rules(self) -> list[str]:
        """The names of rules whose exports have the tables that look up or are looked up."""
        exported = {child.source: child.exported for child in self._children}
        return [exported.get(source, self._rules[source][0]) for source in dict.fromkeys([*self._parents, *exported])]

    @property
    def waiting(self) -> bool:
        """Whether rows must be written again, before anything else is applied."""
        return bool(self._waiting)

    # -- the file ------------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Whether there is a file. It is as of where the Checkpoint is, or one save ahead: see ``agree``."""
        if not self._store.open():
            return False
        self._saved = self._store.as_of()
        self._waiting = {(one.child, one.look, one.key): one for one in self._store.waiting()}
        if self._saved.position:
            self._at = Position(**self._saved.position)
        return True

    @property
    def waited_for(self) -> Commit | None:
        """The Commit that the applied Position may pass when nothing waits any more; None if nothing does."""
        at = self._saved.position if self._waiting else None
        return Commit(Position(**at), self._saved.time) if at else None

    def agree(self, checkpoints: CheckpointStore) -> None:
        """Finish the save that a crash has cut short between the store and the Checkpoint: all that it stands for is
        durable. Raises StateError if they are of different places otherwise.
        """
        now, saved = checkpoints.now, self._saved
        at = tuple(now.applied) if now.applied else None
        if at != saved.point:
            if at != saved.saved or saved.point is None or saved.position is None:
                raise StateError(
                    f"what look-ups read is as of {saved.point} in the change log, and the checkpoint of {at}",
                    place=str(self._path),
                    hint="Restore the state folder from one copy, or begin again with a new one; after a cutover, "
                    "begin again.",
                )
            fresh = replace(now, applied=LogPoint(*saved.point))
            if not self._waiting:
                fresh = now.with_applied(LogPoint(*saved.point), Position(**saved.position), saved.time)
            checkpoints.save(replace(fresh, counters={**now.counters, "applied": saved.applied}))

    def save(self, point: LogPoint, applied: int, commit: Commit) -> None:
        """Must be called before a Checkpoint is saved that has passed ``point``, and only if nothing after it was
        taken.
        """
        position = commit.position.as_fields()
        at = point.segment, point.offset
        before = self._saved.saved if self._saved.point == at else self._saved.point
        self._saved = AsOf(at, applied, position, commit.timestamp, before)
        with understood(self._path):
            self._write_rows()
        self._store.save(self._saved, self._waiting.values())

    def close(self) -> None:
        self._store.close()

    # -- the load ------------------------------------------------------------------------------------------------------

    def filling(self, origin: Any) -> AbstractContextManager[None]:
        return self._store.filling(origin, AsOf(), [])

    def filling_again(self, as_of: AsOf) -> AbstractContextManager[None]:
        """While changes are applied, up to ``as_of``: what is filled is newer. All rows will wait to be written."""
        return self._store.filling("again", as_of, [WaitingRows(each.number, ALL, b"", []) for each in self._children])

    def is_from(self, origin: Any) -> bool:
        return self._store.is_from(origin)

    def fill(self, table: Table, rows: list[Row]) -> None:
        with understood(self._path):
            for number in self._parents.get(table.full_name, ()):
                kept = self._kept[number]
                keyed = ((kept.key_of(table, row), kept.packed(table, row)) for row in rows)
                self._store.keep(number, [(key, packed) for key, packed in keyed if key is not None])
            if version := self._definitions.of(table):
                self._store.put(version.child.number, map(version.stored, rows))

    def joined_parts(self, table: Table, parts: Iterable[Sized]) -> Iterator[Sized]:
        """The rows of a part of ``table``'s export, joined."""
        with understood(self._path):
            version = self._definitions.of(table)
        assert version, "it looks something up"
        for rows, size in parts:
            with understood(self._path):
                yield [self._joined(version, row, version.by(row)) for row in rows], size

    # -- changes -------------------------------------------------------------------------------------------------------

    def of(self, changes: Sequence[Change]) -> Iterator[list[Change]]:
        """``changes``, in log order and joined, in portions: each must be in the target before the next is taken."""
        portion: list[Change] = []
        with understood(self._path):
            self._read_rows(changes)
            roles = self._roles(changes)
            for (change, version, looked_up), by in zip(roles, self._read_parents(roles), strict=True):
                self._taken += 1
                self._at = change.position
                for number in looked_up:
                    self._keep(number, change)
                if version is None:
                    portion.append(change)
                elif version.child.placed:
                    portion += self._of_placed(change, version, by)
                else:
                    self._of_own(change, version, by, portion)
                if self._crowded or len(portion) >= PORTION:
                    yield portion
                    portion = []  # the one that was given is somebody else's
                while self._crowded:
                    yield self.more()
                    self._crowded = self.waiting
        if portion:
            yield portion

    def take_count(self) -> int:
        """How many changes were taken since this was asked last."""
        taken, self._taken = self._taken, 0
        return taken

    def more(self) -> list[Change]:
        """The next portion of the rows that wait, with what they look up by now."""
        found: list[Change] = []
        with understood(self._path):
            self._write_rows()
            while self._waiting and len(found) < PORTION:
                place, waiting = next(iter(self._waiting.items()))
                child, most = self._children[waiting.child], PORTION - len(found)
                if waiting.look == ALL:
                    stored = self._store.rows_after(waiting.child, waiting.after, most)
                else:
                    stored = self._store.rows_by(waiting.child, waiting.look, waiting.key, waiting.after, most)
                for each in stored:
                    version, row = self._definitions.numbered(child, each.version), row_of(each.row)
                    if child.placed:
                        *states, now = self._states(version, row, each.key)
                        found += _changes([(version, one) for one in states], (version, now), self._at)
                    else:
                        now = self._joined(version, row, version.by(row))
                        found.append(Change(version.joined, row + version.blanks, now, self._at))
                if len(stored) < most:
                    del self._waiting[place]
                else:
                    self._waiting[place] = waiting._replace(after=stored[-1].key)
        return found

    def _keep(self, number: int, change: Change) -> None:
        """The row of a table that is looked up, as it is after ``change``; whoever looks it up waits."""
        kept, table = self._kept[number], change.table
        self._definitions.check(table, self._parents[table.full_name])
        before = kept.key_of(table, change.before) if change.before else None
        after = kept.key_of(table, change.after) if change.after else None
        for key in dict.fromkeys(each for each in (before, after) if each is not None):
            old = self._store.looked_up(number, key)
            new = kept.packed(table, change.after) if change.after and key == after else None
            if old == new:
                continue
            if new is None:
                self._store.drop(number, key)
            else:
                self._store.keep(number, [(key, new)])
            self._cache[number].pop(key, None)
            self._wait(number, key, old)

    def _wait(self, number: int, key: bytes, old: bytes | None) -> None:
        for child in self._children:
            for look, one in enumerate(child.looks):
                if one.kept == number:
                    place = (child.number, look, key)
                    olds = self._waiting.setdefault(place, WaitingRows(*place, [])).olds
                    if child.placed and old not in olds:
                        olds.append(old)
                        self._crowded = self._crowded or len(olds) >= MOST_OLDS

    def _read_rows(self, changes: Sequence[Change]) -> None:
        """Those whose places only the store knows."""
        wanted: list[list[bytes]] = [[] for _ in self._children]
        if any(child.placed for child in self._children):
            self._write_rows()
            for change in changes:
                version = self._definitions.of(change.table)
                if version and version.child.placed:
                    wanted[version.child.number] += version.keys(change.before, change.after)
        for rows, several in zip(self._rows, wanted, strict=True):
            rows.read(several)

    def _roles(self, changes: Sequence[Change]) -> list[_Role]:
        """Each with its table's definition if that looks up, and with what of it is looked up."""
        known: dict[int, tuple[Version | None, list[int]]] = {}  # by identity, the tables of this batch
        for change in changes:
            table = change.table
            if id(table) not in known:
                known[id(table)] = self._definitions.of(table), self._parents.get(table.full_name, [])
        return [(change, *known[id(change.table)]) for change in changes]

    def _read_parents(self, changes: Iterable[_Role]) -> list[Bys]:
        """What each of ``changes`` looks up by after it. All that is not in memory yet is read at once: a statement for
        each would cost more than all else. What changes in between is read again by ``_found``.
        """
        bys, wanted = list[Bys](), [set[bytes]() for _ in self._kept]
        for change, version, _ in changes:
            by: Bys = ()
            if version and change.after:
                by = version.by(change.after)
                for number, key in zip(version.reads, by, strict=True):
                    if key is not None and key not in self._cache[number]:
                        wanted[number].add(key)
            bys.append(by)
        for number, keys in enumerate(wanted):
            cache = self._cache[number]
            if len(cache) + len(keys) > CACHED:
                cache.clear()
            cache.update(dict.fromkeys(keys))
            cache.update((key, row_of(row)) for key, row in self._store.all_looked_up(number, sorted(keys)))
        return bys

    def _write_rows(self) -> None:
        for rows in self._rows:
            rows.write()

    def _of_own(self, change: Change, version: Version, by: Bys, portion: list[Change]) -> None:
        """Of a row whose place is its own: the log says where it was, as without look-ups, and the store need not."""
        table, before, after, position = version.joined, change.before, change.after, change.position
        rows, keys = self._rows[version.child.number], version.keys(before, after)
        if before:
            if not after or len(keys) > 1:
                rows.remove(keys[0])
            before += version.blanks
        now = None
        if after:
            rows.put((keys[-1], version.number, record_of(after), *by))
            now = self._joined(version, after, by)
        portion.append(_new(Change, (table, before, now, position)))

    def _of_placed(self, change: Change, version: Version, by: Bys) -> list[Change]:
        child, after, keys = version.child, change.after, version.keys(change.before, change.after)
        rows, olds = self._rows[child.number], list[tuple[Version, Row]]()
        if child.several and change.before:  # of the other rules, whose items the store need not have the rows of
            olds.append((version, change.before + version.blanks))
        for key in keys:
            if stored := rows.row(key):
                before = self._definitions.numbered(child, stored.version)
                olds += [(before, one) for one in self._states(before, row_of(stored.row), key)]
                if not after or key != keys[-1]:
                    rows.remove(key)
        if not after:
            return _changes(olds, None, change.position)
        rows.put((keys[-1], version.number, record_of(after), *by))
        return _changes(olds, (version, self._joined(version, after, by)), change.position)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _joined(self, version: Version, row: Row, by: Bys) -> Row:
        """As of now; ``by`` is what it looks up by."""
        if version.whole:  # as most do: for each change
            [kept], [key] = version.reads, by
            there = None if key is None else self._found(kept, key)
            return row + (version.nothing if there is None else there[: version.whole])
        found = [None if key is None else self._found(kept, key) for kept, key in zip(version.reads, by, strict=True)]
        return version.child.joined(row, found)

    def _states(self, version: Version, row: Row, key: bytes) -> list[Row]:
        """All that the row may have been written as; the last is what it is as of now."""
        if not self._waiting:
            return [self._joined(version, row, version.by(row))]
        child, several = version.child, list[list[Found]]()
        for number, (look, by) in enumerate(zip(child.looks, version.by(row), strict=True)):
            found: list[Found] = [None if by is None else self._found(look.kept, by)]
            waiting = None if by is None else self._waiting.get((child.number, number, by))
            if waiting and (waiting.after is None or key > waiting.after):
                found = [None if old is None else row_of(old) for old in waiting.olds] + found
            several.append(found)
        return [child.joined(row, found) for found in product(*several)]

    def _found(self, number: int, key: bytes) -> Found:
        cache = self._cache[number]
        if (found := cache.get(key, _UNREAD)) is not _UNREAD:
            return found
        if len(cache) >= CACHED:
            cache.clear()
        row = self._store.looked_up(number, key)
        found = cache[key] = None if row is None else row_of(row)
        return found


def _changes(olds: list[tuple[Version, Row]], new: tuple[Version, Row] | None, position: Position) -> list[Change]:
    """What takes back all that a row may have been written as, and writes what it is now."""
    found = [Change(version.joined, row, None, position) for version, row in olds[:-1]]
    last = olds[-1] if olds else None
    if last and new and last[0].joined is new[0].joined:
        return [*found, Change(new[0].joined, last[1], new[1], position)]
    if last:
        found.append(Change(last[0].joined, last[1], None, position))
    if new:
        found.append(Change(new[0].joined, None, new[1], position))
    return found
