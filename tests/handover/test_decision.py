"""The moment of the decision: its answer is lost, its lock is lost, the server goes; there is one side afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.e2e.work import Work
from tests.handover.test_cutover import assert_open, assert_undone, step, triggers, writing
from tests.handover.test_fence import tried
from whimbrel.errors import SourceUnreachable
from whimbrel.handed_over import DECIDED
from whimbrel.handover.cutting import Cutting
from whimbrel.handover.fence import Closed, Fence
from whimbrel.handover.state import Coordinator
from whimbrel.mysql.barrier import Barrier, barrier


@pytest.mark.parametrize("reached_the_server", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_answer_to_the_decision_is_lost(
    shop: Work, monkeypatch: pytest.MonkeyPatch, reached_the_server: bool
) -> None:
    real, save = Coordinator.move, Coordinator._save

    def without_step(coordinator: Coordinator, **values: Any) -> None:
        """What belongs to the step is in the file before the rows have it."""
        if "step" not in values:
            save(coordinator, **values)

    def lost(coordinator: Coordinator, to: str, held: Barrier | None = None, **values: Any) -> None:
        if to != DECIDED:
            return real(coordinator, to, held, **values)
        if reached_the_server:
            with monkeypatch.context() as patch:
                patch.setattr(Coordinator, "_save", without_step)  # nor does the process get that far
                real(coordinator, to, held, **values)
        raise SourceUnreachable("the connection broke")

    monkeypatch.setattr(Coordinator, "move", lost)
    with writing(shop) as application:
        if reached_the_server:
            shop.call("cutover", "--yes")
            assert_open(shop, application)
        else:
            assert "error[CutoverUndone]: the connection broke" in shop.call("cutover", "--yes", code=3).output
            monkeypatch.undo()
            assert_undone(shop, application)


@pytest.mark.slow
def test_without_its_lock_there_is_no_decision(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, or somebody, ends the session that has the lock, right before it decides."""
    real = Coordinator.move

    def ended(coordinator: Coordinator, to: str, held: Barrier | None = None, **values: Any) -> None:
        if held:
            shop.source.execute(f"KILL CONNECTION {held.session.thread_id()}")
        real(coordinator, to, held, **values)

    monkeypatch.setattr(Coordinator, "move", ended)
    with writing(shop) as application:
        assert "error[CutoverUndone]: " in shop.call("cutover", "--yes", code=3).output
        monkeypatch.undo()
        assert_undone(shop, application)


@pytest.mark.slow
def test_another_command_that_took_over_meanwhile_wins(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one slept before the decision; it may neither decide nor remove what the other one made."""
    real = Cutting._refuse_late_changes

    def slept(cutting: Cutting, end: Any) -> None:
        real(cutting, end)
        shop.source.execute(
            "UPDATE whimbrel_handover SET epoch = epoch + 1, holder = 'another', place = 'elsewhere'",
            database=shop.database,
        )

    # While the lock is held nobody can take over: it is the lock that was lost, unnoticed.
    monkeypatch.setattr(Fence, "_locked", unlocked)
    monkeypatch.setattr(Cutting, "_refuse_late_changes", slept)
    said = shop.call("cutover", "--yes", code=3).output
    assert "another state folder hands over this table: elsewhere" in said
    assert (triggers(shop), step(shop)) == (3, "CUTTING")


@contextmanager
def unlocked(fence: Fence, tables: Any, patience: float = 10.0) -> Iterator[Barrier]:
    """The lock of the tables, without the coordinator's rows."""
    with barrier(fence._source, tables, lambda _: False, hold=10) as held:
        yield held


@pytest.mark.slow
def test_the_server_is_killed_between_the_fence_and_the_decision(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Fence.close

    def closed(fence: Fence, *arguments: Any) -> Closed:
        done = real(fence, *arguments)
        shop.source.kill()
        return done

    monkeypatch.setattr(Fence, "close", closed)
    shop.target_settings = "[cutover]\nmax_stall = 2"
    shop.write_project()
    try:
        said = shop.call("cutover", "--yes", code=3).output
    finally:
        shop.source.start()
    assert "it could not be undone yet" in said
    assert (triggers(shop), step(shop)) == (3, "CUTTING")  # the fence has outlived the server
    monkeypatch.undo()
    if shop.source.flavor == "mariadb":  # the variable was set for that run of the server only
        said = shop.call("migrate", "--until-caught-up", code=3).output
        assert "SET GLOBAL log_bin_trust_function_creators = 1" in said
        shop.source.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    shop.call("migrate", "--until-caught-up")
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")


def after_the_fence(monkeypatch: pytest.MonkeyPatch, event: Callable[[], object]) -> None:
    real = Fence.close

    def closed(fence: Fence, *arguments: Any) -> Closed:
        done = real(fence, *arguments)
        event()
        return done

    monkeypatch.setattr(Fence, "close", closed)


def test_the_next_try_of_the_seal_is_soon(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can write anyway: a pause would only make that longer."""
    reader, real = shop.source.connect(shop.database, user="app", autocommit=False), Fence.close
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        reader.rollback()

    def closed(fence: Fence, *arguments: Any) -> Closed:
        done = real(fence, *arguments)
        assert tried(reader, "SELECT * FROM purchase") == 0
        monkeypatch.setattr(fence, "_wait", wait)
        return done

    monkeypatch.setattr(Fence, "close", closed)
    with closing(reader), writing(shop) as application:
        shop.call("cutover", "--yes")
        assert_open(shop, application)
    assert pauses
    assert pauses[0] < 0.05


@pytest.mark.slow
def test_a_reader_that_keeps_the_seal_away_is_not_waited_for(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it keep the application's writes closed for longer than it reads."""
    shop.target_settings = "[cutover]\nmax_stall = 1"
    shop.write_project()
    reader = shop.source.connect(shop.database, user="app", autocommit=False)
    ends = threading.Timer(4.0, reader.rollback)

    def read() -> None:
        assert tried(reader, "SELECT * FROM purchase") == 0
        ends.start()

    after_the_fence(monkeypatch, read)
    with writing(shop) as application:
        said = shop.call("cutover", "--yes", code=3).output
        assert "error[CutoverUndone]: " in said
        assert "could not lock the tables within" in said
        ends.join()
        reader.close()
        monkeypatch.undo()
        assert_undone(shop, application)


@pytest.mark.slow
def test_privileges_that_went_meanwhile_are_told(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TRIGGER there seem to be no triggers: that must not count as undone."""
    right = f"TRIGGER ON `{shop.database}`.*"
    after_the_fence(
        monkeypatch, lambda: shop.source.execute(f"REVOKE {right} FROM '{shop.source.user}'@'%'", "FLUSH PRIVILEGES")
    )
    said = shop.call("cutover", "--yes", code=3).output
    assert "it could not be undone yet" in said
    assert "lacks TRIGGER" in said
    assert (triggers(shop), step(shop)) == (3, "CUTTING")
    monkeypatch.undo()
    shop.source.execute(f"GRANT {right} TO '{shop.source.user}'@'%'")
    shop.call("migrate", "--until-caught-up")
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")
