"""A renewal as a run: what is repeated after a stop, a failure or a crash, and what the record says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from whimbrel.errors import StateError, Stopped, TargetUnreachable, TrainingError
from whimbrel.prediction.renew import renew as module
from whimbrel.prediction.renew.renew import RUN_FILE, FolderRuns, Result, Step, renew
from whimbrel.project.renew import STEPS


class Crash(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


class Steps(dict[str, Step]):
    """Steps that keep what was run; ``on`` does something else instead of one of them, once."""

    def __init__(self, passed: bool = True, live: bool = True) -> None:
        self.done: list[str] = []
        self._instead: dict[str, Callable[[], object]] = {}
        answers: dict[str, dict[str, Any]] = {"gate": {"passed": passed, "reason": "why"}, "update": {"live": live}}
        super().__init__({name: self._step(name, answers.get(name, {"n": name})) for name in STEPS})

    def on(self, name: str, instead: Callable[[], object]) -> None:
        self._instead[name] = instead

    def _step(self, name: str, answer: Result) -> Step:
        def run(results: Mapping[str, Result]) -> Result:
            assert list(results) == list(STEPS[: STEPS.index(name)]), "it is given what was done before it"
            self.done.append(name)
            self._instead.pop(name, lambda: None)()
            return dict(answer)

        return run


def raising(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_a_run_leaves_one_line_with_the_figures_of_every_step(tmp_path: Path, stop: threading.Event) -> None:
    line = renew(FolderRuns(tmp_path), Steps(), stop)
    assert FolderRuns(tmp_path).record() == [line]
    assert line["outcome"] == "renewed"
    assert list(line["results"]) == list(STEPS)
    assert all(each["seconds"] >= 0 for each in line["results"].values())
    assert FolderRuns(tmp_path).unfinished() is None


def test_a_gate_that_refuses_ends_the_run_before_the_update(tmp_path: Path, stop: threading.Event) -> None:
    steps = Steps(passed=False)
    assert renew(FolderRuns(tmp_path), steps, stop)["outcome"] == "kept"
    assert steps.done == list(STEPS[:-1])


def test_a_model_that_the_endpoint_took_back_is_recorded_as_such(tmp_path: Path, stop: threading.Event) -> None:
    assert renew(FolderRuns(tmp_path), Steps(live=False), stop)["outcome"] == "returned"


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "error", [Crash(), TargetUnreachable("gone"), Stopped("asked to")], ids=["crash", "net", "stop"]
)
def test_the_next_run_goes_on_from_the_step_that_did_not_end(
    name: str, error: BaseException, tmp_path: Path, stop: threading.Event
) -> None:
    steps = Steps()
    steps.on(name, raising(error))
    with pytest.raises(type(error)):
        renew(FolderRuns(tmp_path), steps, stop)
    assert FolderRuns(tmp_path).record() == []
    line = renew(FolderRuns(tmp_path), steps, stop)
    at = STEPS.index(name)
    assert steps.done == [*STEPS[: at + 1], *STEPS[at:]]
    assert FolderRuns(tmp_path).record() == [line]


def test_what_cannot_go_on_with_its_data_is_recorded_and_begins_anew(tmp_path: Path, stop: threading.Event) -> None:
    steps = Steps()
    steps.on("train", raising(TrainingError("too few rows")))
    with pytest.raises(TrainingError):
        renew(FolderRuns(tmp_path), steps, stop)
    [line] = FolderRuns(tmp_path).record()
    assert (line["outcome"], line["error"]) == ("failed", "too few rows")
    steps.done.clear()
    assert renew(FolderRuns(tmp_path), steps, stop)["outcome"] == "renewed"
    assert steps.done == list(STEPS)


def test_a_stop_takes_effect_between_two_steps(tmp_path: Path, stop: threading.Event) -> None:
    steps = Steps()
    steps.on("convert", stop.set)
    with pytest.raises(Stopped):
        renew(FolderRuns(tmp_path), steps, stop)
    assert steps.done == ["export", "convert"]
    stop.clear()
    renew(FolderRuns(tmp_path), steps, stop)
    assert steps.done == list(STEPS)


def test_a_crash_between_the_record_and_its_end_does_not_write_it_twice(
    tmp_path: Path, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = module.append_line  # type: ignore[attr-defined]

    def append_and_die(path: Path, line: bytes) -> None:
        append(path, line)
        raise Crash

    monkeypatch.setattr(module, "append_line", append_and_die)
    with pytest.raises(Crash):
        renew(FolderRuns(tmp_path), Steps(), stop)
    monkeypatch.setattr(module, "append_line", append)
    steps = Steps()
    renew(FolderRuns(tmp_path), steps, stop)
    assert steps.done == []
    assert len(FolderRuns(tmp_path).record()) == 1
    renew(FolderRuns(tmp_path), steps, stop)
    assert len(FolderRuns(tmp_path).record()) == 2


def test_half_a_line_of_a_crash_is_left_out_and_cut_off(tmp_path: Path, stop: threading.Event) -> None:
    renew(FolderRuns(tmp_path), Steps(), stop)
    with (tmp_path / module.RECORD_FILE).open("ab") as file:
        file.write(b'{"run": "ab')
    assert len(FolderRuns(tmp_path).record()) == 1
    renew(FolderRuns(tmp_path), Steps(), stop)
    assert len(FolderRuns(tmp_path).record()) == 2


def test_a_run_file_that_is_none_is_named(tmp_path: Path, stop: threading.Event) -> None:
    (tmp_path / RUN_FILE).write_text("{")
    with pytest.raises(StateError, match=r"run\.json: not a renewal"):
        renew(FolderRuns(tmp_path), Steps(), stop)
