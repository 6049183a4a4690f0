"""Who coordinates, and what stands after a crash between any two writes of the file and the rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import SqlServer
from tests.handover.conftest import Fenced
from whimbrel import handed_over
from whimbrel.errors import HandoverTaken, StateError
from whimbrel.handed_over import CUTTING, DECIDED, FOLLOWING, OPEN, Handover, load
from whimbrel.handover import state
from whimbrel.handover.state import Coordinator, standing_step
from whimbrel.project import Project, Target


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)])
def fenced(request: pytest.FixtureRequest, make_fenced: Callable[[SqlServer], Fenced]) -> Fenced:
    return make_fenced(request.getfixturevalue(request.param))


@pytest.fixture
def coordinator(fenced: Fenced, tmp_path: Path) -> Callable[..., Coordinator]:
    def make(folder: str = "state") -> Coordinator:
        project = Project(tmp_path / "whimbrel.toml", tmp_path / folder, fenced.source, Target(), ())
        return Coordinator(project, [(fenced.database, table) for table in ("u", "t")])

    return make


def rows(fenced: Fenced) -> list[tuple[Any, ...]]:
    return list(fenced.sql("SELECT source, epoch, step FROM whimbrel_handover ORDER BY source"))


def test_each_command_has_a_higher_epoch_and_the_older_one_can_do_nothing(
    fenced: Fenced, coordinator: Callable[..., Coordinator]
) -> None:
    first = coordinator()
    assert first.take_over().epoch == 1
    second = coordinator()
    assert (second.take_over().epoch, second.now.step) == (2, FOLLOWING)
    with pytest.raises(HandoverTaken, match=r"step FOLLOWING, epoch 2"):
        first.move(CUTTING)
    second.move(CUTTING, tables=(("a", "b"),))
    assert rows(fenced) == [(f"{fenced.database}.{table}", 2, CUTTING) for table in ("t", "u")]
    assert load(coordinator()._folder) == second.now


def test_a_copied_folder_is_refused_by_name(
    fenced: Fenced, coordinator: Callable[..., Coordinator], tmp_path: Path
) -> None:
    honest = coordinator()
    honest.take_over()
    honest.move(CUTTING)
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    honest = coordinator()
    honest.take_over()
    with pytest.raises(HandoverTaken, match=r"another state folder hands over this table: .*/state, step CUTTING"):
        coordinator("copy").take_over()
    with pytest.raises(HandoverTaken):
        coordinator("another").take_over()
    honest.move(DECIDED)


def test_where_nothing_is_under_way_anybody_may_begin(fenced: Fenced, coordinator: Callable[..., Coordinator]) -> None:
    for folder in ("one", "two", "one"):
        assert coordinator(folder).take_over().step == FOLLOWING


def test_two_projects_in_one_database_never_have_the_same_epoch(fenced: Fenced, tmp_path: Path) -> None:
    """The tables of the reverse stream are common to both, and go by it."""
    epochs = []
    for table in ("t", "u", "t", "u"):
        project = Project(tmp_path / "whimbrel.toml", tmp_path / table, fenced.source, Target(), ())
        epochs.append(Coordinator(project, [(fenced.database, table)]).take_over().epoch)
    assert epochs == [1, 2, 3, 4]


class Crash(BaseException):
    pass


def decide(first: Coordinator, steps: list[str]) -> None:
    steps.append(first.take_over().step)
    for step in (CUTTING, DECIDED, OPEN):
        steps.append(step)
        first.move(step)


@pytest.mark.parametrize("where", range(8))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_any_two_writes_leaves_the_honest_folder_able_to_go_on(
    fenced: Fenced,
    coordinator: Callable[..., Coordinator],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: int,
    when: str,
) -> None:
    """The writes of a command that decides: of the file, and COMMITs of the rows."""
    left = [where]
    real: dict[str, Any] = {name: getattr(state, name) for name in ("save", "execute")}

    def crashing(name: str, counts: Callable[..., bool]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if not counts(*arguments):
                return real[name](*arguments)
            left[0] -= 1
            if left[0] == -1 and when == "before":
                raise Crash
            done = real[name](*arguments)
            if left[0] == -1:
                raise Crash
            return done

        return call

    monkeypatch.setattr(state, "save", crashing("save", lambda *_: True))
    monkeypatch.setattr(state, "execute", crashing("execute", lambda _, statement, *__: statement == "COMMIT"))
    steps: list[str] = []
    with pytest.raises(Crash):
        decide(coordinator(), steps)
    monkeypatch.undo()
    again = coordinator()
    stands = again.take_over().step
    assert stands in [FOLLOWING, *steps][-2:], "the step that was being written, or the one before it"
    assert {row[2] for row in rows(fenced)} == {stands} == {load(tmp_path / "state").step}


def test_what_belongs_to_a_step_outlives_a_crash_right_after_its_commit(
    fenced: Fenced, coordinator: Callable[..., Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would know where the way back begins, or where the migration goes on after a return."""
    first, starts = coordinator(), {"target": {"shard": "17"}}
    first.take_over()
    first.move(CUTTING)
    real: dict[str, Any] = {"execute": vars(state)["execute"]}

    def crashing(session: Any, statement: str, *more: Any) -> int:
        done: int = real["execute"](session, statement, *more)
        if statement == "COMMIT":
            raise Crash
        return done

    monkeypatch.setattr(state, "execute", crashing)
    with pytest.raises(Crash):
        first.move(DECIDED, starts=starts)
    monkeypatch.undo()
    again = coordinator().take_over()
    assert (again.step, again.starts) == (DECIDED, starts)


@pytest.mark.parametrize(
    ("row", "file", "stands"),
    [
        (FOLLOWING, FOLLOWING, FOLLOWING),
        (CUTTING, FOLLOWING, CUTTING),
        (FOLLOWING, CUTTING, CUTTING),
        (DECIDED, CUTTING, DECIDED),
        (CUTTING, DECIDED, DECIDED),
        (DECIDED, OPEN, OPEN),
        (FOLLOWING, "RETURNED", FOLLOWING),
    ],
)
def test_what_stands(row: str, file: str, stands: str) -> None:
    assert standing_step(row, file, Path("state")) == stands


@pytest.mark.parametrize(("row", "file"), [(FOLLOWING, DECIDED), (OPEN, CUTTING), ("other", FOLLOWING)])
def test_what_does_not_belong_together_is_refused(row: str, file: str) -> None:
    with pytest.raises(StateError, match=f"it says {file}, and the rows"):
        standing_step(row, file, Path("state"))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    handed_over.save(tmp_path, Handover(step=OPEN, epoch=3, starts={"t": {"shard": "1"}}))
    assert load(tmp_path).starts == {"t": {"shard": "1"}}
    path = tmp_path / "handover.json"
    path.write_bytes(path.read_bytes().replace(b"OPEN", b"ODEN"))
    with pytest.raises(StateError, match="does not match its checksum"):
        load(tmp_path)
