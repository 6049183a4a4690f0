"""Random histories of an application at DynamoDB, followed back into the source while they are compared with its rows:
rows move between items, in one write or in several, stand in each other's way, are refused, corrected and deleted; the
stream is begun again, and its shards split. Some tables have a filter, and rows that no item has. Then the source is
given back, written to, and cut over again.

The judge knows only what the application wrote, and reads the source by plain SQL: if a table can hold it, the source
has it and nothing else; if not, nobody may say that the two sides are equal.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.servers import SqlServer
from tests.handover.site import Site, StreamsServer
from whimbrel.errors import SourceUnreachable
from whimbrel.handover import early as early_module
from whimbrel.handover import look
from whimbrel.handover.early import Early
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.handover.writing import WriteRules
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reverse_tables import forget
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Item

GROUPS = ("a", "A", "b", "b ")  # which a collation takes for two
IDS = range(7)
RULES = WriteRules(ttl="apply")
TABLE = """
CREATE TABLE line (
    id INT PRIMARY KEY, grp VARCHAR(9) NOT NULL, n INT, code VARCHAR(9) COLLATE utf8mb4_bin {unique}, memo INT,
    KEY (grp)
) CHARACTER SET utf8mb4
"""


class Line(NamedTuple):
    n: int
    code: str


class Place(NamedTuple):
    group: str
    id: int


Lines = dict[Place, Line]


def attributes(line: Line) -> Item:
    return {"n": {"N": str(line.n)}, "code": {"S": line.code}}


class Shape(NamedTuple):
    """``key`` says the item that a line is in, ``entry`` writes it there. ``moves``: two items may have one line.
    ``filtered``: a line whose ``n`` is negative is in no item.
    """

    rule: Callable[[str], TableRule]
    key: Callable[[Place], Item]
    entry: Callable[[Item, Place, Line], None]
    moves: bool = True
    filtered: bool = False


def group(database: str) -> TableRule:
    entry: dict[str, Any] = {"entry_name": "${id}", "entry_as": "map", "entry_into": "lines"}
    return TableRule(f"{database}.line", "shop", "group", KeyRule("pk", "G#${grp}"), exclude=("memo",), **entry)


def record(database: str) -> TableRule:
    keys = KeyRule("pk", "G#${grp}"), KeyRule("sk", "${id}", "N")
    return TableRule(f"{database}.line", "shop", "record", *keys, exclude=("memo",))


def single(database: str) -> TableRule:
    return TableRule(f"{database}.line", "shop", "record", KeyRule("id", "${id}", "N"), exclude=("memo",))


def filtered(rule: Callable[[str], TableRule]) -> Callable[[str], TableRule]:
    return lambda database: replace(rule(database), filter="n >= 0")


def in_map(item: Item, place: Place, line: Line) -> None:
    item.setdefault("lines", {"M": {}})["M"][str(place.id)] = {"M": attributes(line)}


def as_item(item: Item, place: Place, line: Line) -> None:
    item.update(attributes(line) | {"grp": {"S": place.group}, "id": {"N": str(place.id)}})


def group_key(place: Place) -> Item:
    return {"pk": {"S": f"G#{place.group}"}}


def single_key(place: Place) -> Item:
    return {"id": {"N": str(place.id)}}


SHAPES = {
    "group": Shape(group, group_key, in_map),
    "record": Shape(record, lambda at: {**group_key(at), "sk": {"N": str(at.id)}}, as_item),
    "single": Shape(single, single_key, as_item, moves=False),
    "group-filtered": Shape(filtered(group), group_key, in_map, filtered=True),
    "single-filtered": Shape(filtered(single), single_key, as_item, moves=False, filtered=True),
}


class Application:
    """``lines`` is what was acknowledged, ``left_out`` what only the source has; ``strange`` are keys of items with an
    attribute that nobody knows.
    """

    def __init__(
        self, site: Site, streams: StreamsServer, shape: Shape, chance: random.Random, every: Lines, *, unique: bool
    ) -> None:
        """``every`` line that the source has."""
        self.site, self.streams, self.shape, self.chance, self.unique = site, streams, shape, chance, unique
        self.left_out = {place: line for place, line in every.items() if shape.filtered and line.n < 0}
        self.lines = {place: line for place, line in every.items() if place not in self.left_out}
        self.strange: set[str] = set()
        self._codes = 0

    def code(self) -> str:
        self._codes += 1
        return f"c{self._codes % 12}"

    def write(self, *places: Place) -> None:
        """The items of ``places`` as they are to be, each by a write of its own."""
        for key in {str(self.shape.key(place)): self.shape.key(place) for place in places}.values():
            item = dict(key)
            for place, line in self.lines.items():
                if self.shape.key(place) == key:
                    self.shape.entry(item, place, line)
            if item != key:
                self.site.put(item | ({"colour": {"S": "red"}} if str(key) in self.strange else {}))
            else:
                self.strange.discard(str(key))
                expired = self.chance.random() < 0.5
                self.streams.call("DeleteItem", TableName="shop", Key=key, expired=expired)

    def step(self) -> None:
        free = [number for number in IDS if all(place.id != number for place in self.lines)]
        if free and (len(self.lines) < 2 or self.chance.random() < 0.25):
            place = Place(self.chance.choice(GROUPS), self.chance.choice(free))
            self.lines[place] = Line(self.chance.randrange(99), self.code())
            return self.write(place)
        place = self.chance.choice(sorted(self.lines))
        deeds = ["update", "delete", "move", "copy", "swap", "spoil", "long", "correct", "correct"]
        deed = self.chance.choice([*deeds, *["hide"] * self.shape.filtered])
        return getattr(self, deed)(place)

    def update(self, place: Place) -> None:
        self.lines[place] = Line(self.chance.randrange(99), self.chance.choice([self.lines[place].code, self.code()]))
        self.write(place)

    def delete(self, place: Place) -> None:
        del self.lines[place]
        self.write(place)

    def move(self, place: Place) -> None:
        to = place._replace(group=self.chance.choice(GROUPS))
        self.lines[to] = self.lines.pop(place)
        self.write(*self.chance.sample([place, to], 2))

    def copy(self, place: Place) -> None:
        """The first half of a move; ``delete`` may be the second one, of either."""
        if self.shape.moves:
            to = place._replace(group=self.chance.choice(GROUPS))
            self.lines[to] = self.lines[place]
            self.write(to)

    def swap(self, place: Place) -> None:
        other = self.chance.choice(sorted(self.lines))
        mine, theirs = self.lines[place], self.lines[other]
        self.lines[place], self.lines[other] = mine._replace(code=theirs.code), theirs._replace(code=mine.code)
        self.write(place, other)

    def long(self, place: Place) -> None:
        self.lines[place] = Line(1, "much too long")
        self.write(place)

    def hide(self, place: Place) -> None:
        """No item may be so."""
        self.lines[place] = self.lines[place]._replace(n=-2)
        self.write(place)

    def spoil(self, place: Place) -> None:
        self.strange.add(str(self.shape.key(place)))
        self.write(place)

    def correct(self, place: Place) -> None:
        self.strange.discard(str(self.shape.key(place)))
        self.write(place)

    # -- what a table can hold ---------------------------------------------------------------------------------------

    def fits(self) -> bool:
        ids = Counter(place.id for place in (*self.lines, *self.left_out))
        codes = Counter(line.code for line in (*self.lines.values(), *self.left_out.values()))
        hidden = self.shape.filtered and any(line.n < 0 for line in self.lines.values())
        doubled = max(ids.values(), default=0) > 1 or (self.unique and max(codes.values(), default=0) > 1)
        return not (doubled or hidden or self.strange or any(len(line.code) > 9 for line in self.lines.values()))

    def correct_all(self) -> None:
        self.strange.clear()
        touched = set(self.lines)
        seen = {place.id for place in self.left_out}
        for place in sorted(self.lines, key=lambda _: self.chance.random()):
            if place.id in seen:
                del self.lines[place]
            seen.add(place.id)
        taken = {line.code for line in self.left_out.values()}
        free = (code for number in count() if (code := f"d{number}") not in taken)
        for place, line in self.lines.items():
            self.lines[place] = Line(abs(line.n), next(free))
        self.write(*touched)
        assert self.fits()


class Returns:
    """One site, there and back as often as it is asked for."""

    def __init__(self, site: Site, streams: StreamsServer, shape: Shape, seed: int, *, unique: bool) -> None:
        self.site, self.streams, self.shape, self.unique = site, streams, shape, unique
        self.chance = random.Random(seed)
        self.epoch = 0
        self.seen = Counter[str]()

    def once(self) -> None:
        """Written to at the source, cut over, written to at DynamoDB, and given back."""
        self.epoch += 1
        self._write_to_the_source()
        application = self._loaded()
        memos = {number: memo for number, *_, memo in self._rows()}
        starts = self.site.mark(f"start-{self.epoch}")
        for _ in range(self.chance.randrange(1, 4)):
            with self._following(starts):
                for _ in range(self.chance.randrange(1, 10)):
                    application.step()
            if self.chance.random() < 0.2:
                self.streams.call("Split", TableName="shop")
        if self.chance.random() < 0.5:
            with self._following(starts):
                application.correct_all()
        if not self._is_given_back(starts):
            self.seen["refused"] += 1
            assert not application.fits(), application.lines
            with self._following(starts):
                application.correct_all()
            assert self._is_given_back(starts), (self.letters(), application.lines)
        assert application.fits(), application.lines
        lines = application.lines | application.left_out
        wanted = [(at.id, at.group, *line, memos.get(at.id)) for at, line in lines.items()]
        assert self._rows() == sorted(wanted)
        with closing(connect(self.site.account)) as connection:
            forget(connection, self.site.database, self.epoch)

    def letters(self) -> str:
        path = self.site.project.state / "reverse-dead.jsonl"
        return path.read_text() if path.exists() else ""

    def _write_to_the_source(self) -> None:
        for _ in range(self.chance.randrange(6)):
            number, name = self.chance.choice(IDS), self.chance.choice(GROUPS)
            statement = self.chance.choice(
                [
                    f"DELETE FROM line WHERE id = {number}",
                    f"INSERT IGNORE INTO line VALUES ({number}, '{name}', 1, 's{number}', {self.epoch})",
                    f"UPDATE line SET grp = '{name}' WHERE id = {number}",
                    f"UPDATE line SET memo = {self.epoch} WHERE id = {number}",
                    f"UPDATE line SET n = {self.chance.choice([-1, 1])} WHERE id = {number}",
                ]
            )
            self.site.source.execute(statement, database=self.site.database)

    def _loaded(self) -> Application:
        """The items are as the rows are."""
        client = self.site.endpoint.client()
        for item in client.scan(TableName="shop", ConsistentRead=True)["Items"]:
            self.site.delete({name: item[name] for name, _ in self.site.keys})
        lines = {Place(name, number): Line(n, code) for number, name, n, code, _ in self._rows()}
        application = Application(self.site, self.streams, self.shape, self.chance, lines, unique=self.unique)
        application.write(*application.lines)
        return application

    def _rows(self) -> list[tuple[Any, ...]]:
        return [
            tuple(row)
            for row in self.site.source.execute("SELECT * FROM line ORDER BY id", database=self.site.database)
        ]

    def _reverse(self, starts: Any) -> Reverse:
        settings = Settings(self.site.account, RULES)
        return Reverse(self.site.prepared, self.epoch, starts, threading.Event(), lambda _: None, settings)

    @contextmanager
    def _following(self, starts: Any) -> Iterator[None]:
        """The stream is followed, and what was touched compared, beside what is done; both are left where they are."""
        over, failed = threading.Event(), list[BaseException]()
        reverse = self._reverse(starts)
        early = Early(self.site.beside(self.epoch, RULES), reverse.letters.has)

        def follow() -> None:
            try:
                reverse.follow(over.is_set)
            except BaseException as error:
                failed.append(error)

        def compare() -> None:
            try:
                while not over.wait(0.01):
                    with suppress(SourceUnreachable):  # a lock
                        early.until_few(lambda done, of: None)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=each) for each in (follow, compare)]
        for thread in threads:
            thread.start()
        try:
            yield
            over.wait(self.chance.choice([0.0, 0.0, 0.3]))  # how much is left over is any choice
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failed == []

    def _is_given_back(self, starts: Any) -> bool:
        """As a rollback does it: whether it says that the two sides are equal."""
        self.site.drain(reverse := self._reverse(starts))
        beside = self.site.beside(self.epoch, RULES)
        if self.chance.random() < 0.5:
            Early(beside, reverse.letters.has).until(lambda: False)
        done: Reconciled = reconcile(beside)
        [report] = verify_back(self.site.beside(self.epoch, RULES))
        return report.equal and not done.letters and not done.aside


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("unique", [True, False], ids=["unique", "plain"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_what_a_table_can_hold_is_given_back_and_nothing_else(
    source_server: SqlServer,
    streams: StreamsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    unique: bool,
) -> None:
    """``WHIMBREL_RETURNS_N`` returns by ``WHIMBREL_RETURNS_SEED``."""
    seed, returns = (int(os.environ.get(f"WHIMBREL_RETURNS_{name}", "10")) for name in ("SEED", "N"))
    monkeypatch.setattr(look, "AT_ONCE", 2)  # of the few items that there are
    monkeypatch.setattr(early_module, "FEW", 0)
    database = source_server.new_database()
    source_server.execute(TABLE.format(unique="UNIQUE" if unique else ""), database=database)
    site = Site(source_server, database, streams, tmp_path / "state", (SHAPES[shape].rule(database),))
    history = Returns(site, streams, SHAPES[shape], seed, unique=unique)
    for _ in range(returns):
        history.once()
    print(f"{returns} returns by seed {seed}, {history.seen['refused']} refused at first")
