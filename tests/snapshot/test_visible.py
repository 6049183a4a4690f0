"""The start over a model of the servers' commits, step by step between any two questions: whatever lies before it is
visible when it is returned. Real servers judge the same in test_start.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from whimbrel.errors import PrivilegeError, SourceError, SourceUnreachable, Stopped, UnsupportedSource
from whimbrel.mysql import visible
from whimbrel.mysql.visible import Start, fixed_start, sees_commits, until_visible
from whimbrel.project import Source
from whimbrel.records import Position, Table

SOURCE = Source(host="127.0.0.1", port=3306, user="u", database="shop")
TABLES: list[Table] = []
FILE = "bin.000003"
PAUSES = 41  # from 10 ms on, each half as long again, up to 2 s: 60 s in all


@dataclass
class Transaction:
    """0: has not begun to commit; then within it, in the binlog, visible (and its GTID executed), through."""

    number: int
    state: int = 0
    offset: int = 0
    prepared: bool = False  # of XA: listed by XA RECOVER until it is visible


@dataclass
class World:
    """A server whose transactions go on a little with every question that it is asked."""

    flavor: str
    seed: int
    transactions: list[Transaction] = field(default_factory=list)
    end: int = 1000
    sees: bool = True
    lost: int = 0
    closed: int = 0
    stuck: bool = False
    log_bin: bool = True
    purged: bool = False
    statements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.host = "model"
        self.snapshot: int | None = None

    def close(self) -> None:
        self.closed += 1

    def begin(self, *, prepared: bool = False) -> Transaction:
        self.transactions.append(Transaction(len(self.transactions) + 1, prepared=prepared))
        return self.transactions[-1]

    def step(self, each: Transaction) -> None:
        each.state += 1
        if each.state == 2:
            self.end += 100
            each.offset = self.end

    def advance(self) -> None:
        if self.chance.random() < 0.6:
            self.begin(prepared=self.flavor == "mariadb" and self.chance.random() < 0.3)
        for each in self.transactions:
            if each.state < 4 and not self.stuck and self.chance.random() < 0.5:
                self.step(each)
                if self.flavor == "mariadb" and each.state == 2 and not each.prepared:
                    each.state = 3  # a plain commit is in the binlog and visible at once, as a snapshot sees it

    # What is asked

    def rows(self, sql: str, args: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        self.statements.append(sql)
        self.advance()
        if sql.startswith("SELECT OBJECT_TYPE"):
            if not self.sees:
                raise PrivilegeError("SELECT command denied")
            own = [{"kind": "TABLE", "thread": 1, "event": 1}]
            within = [each for each in self.transactions if 0 < each.state < 4]
            return own + [{"kind": "COMMIT", "thread": 50 + each.number, "event": each.number} for each in within]
        if "metadata_lock_lost" in sql:
            return [{"Variable_name": "x", "Value": str(self.lost)}]
        if sql.startswith("START TRANSACTION"):
            self.snapshot = self.end
            return []
        if sql.startswith("SHOW STATUS"):
            assert self.snapshot is not None
            if not self.log_bin:
                return []
            return [
                {"Variable_name": "Binlog_snapshot_file", "Value": FILE},
                {"Variable_name": "BINLOG_SNAPSHOT_POSITION", "Value": str(self.snapshot)},
            ]
        if sql == "COMMIT":
            self.snapshot = None
            return []
        if sql.startswith("SELECT BINLOG_GTID_POS"):
            file, offset = args
            assert sql % ("?", "?") == "SELECT BINLOG_GTID_POS(?, ?) AS gtid"
            assert file == FILE
            return [{"gtid": None if self.purged else self.gtid_at(offset)}]
        assert sql == "XA RECOVER"
        return [{"data": f"xid{each.number}"} for each in self.transactions if each.prepared and each.state < 3]

    def gtid_at(self, offset: int) -> str:
        return f"0-1-{sum(1 for each in self.transactions if 0 < each.offset <= offset)}"

    def binlog_status(self) -> dict[str, Any]:
        self.advance()
        return {"File": FILE, "Position": str(self.end)}

    def position(self) -> Position:
        self.advance()
        executed = sorted(each.number for each in self.transactions if each.state >= 3)
        return Position(FILE, self.end, ",".join(map(str, executed)))


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ``visible`` speak with a world."""

    def use(world: World) -> World:
        def connect(source: Source) -> World:
            assert source is SOURCE
            return world

        def asked(answer: Callable[..., Any]) -> Callable[..., Any]:
            def of(connection: World, *args: Any) -> Any:
                assert connection is world
                return answer(*args)

            return of

        monkeypatch.setattr(visible, "connect", connect)
        monkeypatch.setattr(visible, "server_info", asked(lambda: SimpleNamespace(flavor=world.flavor)))
        monkeypatch.setattr(visible, "rows_as_dicts", asked(lambda sql, args=(): world.rows(sql, args)))
        monkeypatch.setattr(visible, "binlog_status", asked(world.binlog_status))
        monkeypatch.setattr(visible, "mysql_position", asked(world.position))
        return world

    return use


class Clock:
    """Waits without waiting; transactions go on meanwhile."""

    def __init__(self, world: World | None = None, stop_at: int = 10**9) -> None:
        self.world, self.stop_at = world, stop_at
        self.waited: list[float] = []

    def __call__(self, seconds: float) -> bool:
        assert 0 < seconds <= 2
        self.waited.append(seconds)
        if self.world:
            self.world.advance()
        return len(self.waited) >= self.stop_at


@pytest.mark.parametrize("seed", range(60))
def test_all_before_the_start_is_visible_on_mysql(connected: Any, seed: int) -> None:
    world = connected(World("mysql", seed))
    for _ in range(seed % 9):
        world.advance()
    start = fixed_start(SOURCE, TABLES, Clock(world))
    before = {each.number for each in world.transactions if 0 < each.offset <= start.position.offset}
    visible = {each.number for each in world.transactions if each.state >= 3}
    assert before <= visible
    executed = {int(number) for number in filter(None, start.position.gtid.split(","))}
    assert before <= executed <= visible
    assert (start.way, start.held_ms, world.closed) == ("by the commits under way, without a lock", 0.0, 1)


@pytest.mark.parametrize("seed", range(60))
def test_all_before_the_start_is_visible_on_mariadb(connected: Any, seed: int) -> None:
    world = connected(World("mariadb", seed))
    for _ in range(seed % 9):
        world.advance()
    start = fixed_start(SOURCE, TABLES, Clock(world))
    assert start.position.file == FILE
    assert start.position.gtid == world.gtid_at(start.position.offset)
    assert all(each.state >= 3 for each in world.transactions if 0 < each.offset <= start.position.offset)
    assert start.way == "from a consistent snapshot, without a lock"
    assert world.snapshot is None, "its transaction stayed open"
    assert world.closed == 1
    assert sum(sql == "COMMIT" for sql in world.statements) == sum("START" in sql for sql in world.statements)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_position_is_waited_for_until_it_is_visible(connected: Any, flavor: str, seed: int) -> None:
    world = connected(World(flavor, seed))
    for _ in range(20):
        world.advance()
    position = Position(FILE, max(each.offset for each in world.transactions))
    until_visible(SOURCE, TABLES, position, Clock(world))
    assert all(each.state >= 3 for each in world.transactions if 0 < each.offset <= position.offset)


def test_a_commit_that_does_not_end_is_named(connected: Any) -> None:
    world = connected(World("mysql", 1))
    world.step(world.begin())
    world.step(world.begin())
    world.stuck = True
    clock = Clock()
    with pytest.raises(SourceUnreachable, match="2 transactions did not finish their commit within 60 s"):
        fixed_start(SOURCE, TABLES, clock)
    assert len(clock.waited) == PAUSES
    assert clock.waited[:3] == pytest.approx([0.01, 0.015, 0.0225])
    assert max(clock.waited) == 2.0
    assert world.closed == 1


def test_a_prepared_transaction_that_stays_is_named(connected: Any) -> None:
    world = connected(World("mariadb", 1))
    for _ in range(4):
        world.begin(prepared=True)
    world.stuck = True
    world.advance = lambda: None
    with pytest.raises(SourceUnreachable, match=r"prepared XA transactions .*: xid1, xid2, xid3\. Commit"):
        fixed_start(SOURCE, TABLES, Clock())


def test_a_position_that_never_shows_is_named(connected: Any) -> None:
    world = connected(World("mysql", 1))
    world.advance = lambda: None
    position = Position(FILE, 5000)
    clock = Clock()
    with pytest.raises(SourceUnreachable, match=f"does not show what its binlog has up to {FILE}:5000, within 60 s"):
        until_visible(SOURCE, TABLES, position, clock)
    assert len(clock.waited) == PAUSES
    until_visible(SOURCE, TABLES, Position(FILE, world.end), Clock())


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_stop_ends_every_wait(connected: Any, flavor: str) -> None:
    world = connected(World(flavor, 1))
    each = world.begin(prepared=True)
    world.step(each)
    world.stuck = True
    clock = Clock(stop_at=3)
    with pytest.raises(Stopped):
        fixed_start(SOURCE, TABLES, clock)
    assert len(clock.waited) == 3
    world.stuck = False
    clock = Clock(world, stop_at=1)
    with pytest.raises(Stopped):
        until_visible(SOURCE, TABLES, Position(FILE, 10**9), clock)


@pytest.mark.parametrize("hidden", ["denied", "lost", "not shown"])
def test_where_mysql_hides_commits_a_lock_is_asked_for(
    connected: Any, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    world = connected(World("mysql", 1, sees=hidden != "denied", lost=int(hidden == "lost")))
    if hidden == "not shown":
        shown = world.rows
        world.rows = lambda sql, args=(): [row for row in shown(sql, args) if row.get("kind") != "TABLE"]
    world.begin().state = 1
    asked: list[Any] = []

    def lock(*what: Any) -> Any:
        asked.append(what)
        return SimpleNamespace(position=Position(FILE, 7), held_ms=12.5)

    monkeypatch.setattr(visible, "position_under_lock", lock)
    wait = Clock()
    assert fixed_start(SOURCE, TABLES, wait) == Start(Position(FILE, 7), "under a read lock", 12.5)
    assert asked == [(SOURCE, TABLES, wait)]
    assert world.closed == 1
    until_visible(SOURCE, TABLES, Position(FILE, 7), wait)
    assert asked == [(SOURCE, TABLES, wait)] * 2


def test_what_hides_commits_and_what_is_an_outage(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = connected(World("mysql", 1))
    assert sees_commits(world)
    for error, outage in (
        (PrivilegeError("no"), False),
        (SourceError("no table"), False),
        (SourceUnreachable("x"), True),
    ):

        def fail(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(visible, "rows_as_dicts", fail)
        if outage:
            with pytest.raises(SourceUnreachable):
                sees_commits(world)
        else:
            assert not sees_commits(world)
    monkeypatch.setattr(
        visible, "rows_as_dicts", lambda connection, sql, args=(): [] if "lost" in sql else world.rows(sql)
    )
    assert not sees_commits(world)


def test_commits_that_are_hidden_on_the_way_end_it(connected: Any) -> None:
    """The server lost track of a lock after the first look: nothing is proved by what it shows."""
    world = connected(World("mysql", 1))
    world.step(world.begin())
    world.stuck = True

    class Losing(Clock):
        def __call__(self, seconds: float) -> bool:
            world.lost, world.stuck = 1, False
            return super().__call__(seconds)

    with pytest.raises(SourceUnreachable, match="0 transactions did not finish"):
        fixed_start(SOURCE, TABLES, Losing())


def test_a_mariadb_without_a_binlog_or_without_that_place_in_it(connected: Any) -> None:
    world = connected(World("mariadb", 1, log_bin=False))
    with pytest.raises(UnsupportedSource, match="the server writes no binlog"):
        fixed_start(SOURCE, TABLES, Clock())
    assert world.snapshot is None
    world = connected(World("mariadb", 1, purged=True))
    with pytest.raises(SourceUnreachable, match=rf"the server has no {FILE}:\d+ any more"):
        fixed_start(SOURCE, TABLES, Clock())
