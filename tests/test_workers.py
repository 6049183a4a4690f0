"""Worker processes: what they are given is done or its end is told, and none is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import worker_jobs
from whimbrel import workers as module
from whimbrel.checkpoint import RunLock
from whimbrel.errors import Locked, ProjectError, RequestRefused, Stopped, WorkerLost
from whimbrel.project import load_project
from whimbrel.workers import Workers, processes

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def two(stop: threading.Event, **more: Any) -> Workers[tuple[str, Any], Any]:
    return Workers(worker_jobs.begin, ["a", "b"], stop, **more)


def hear(
    workers: Workers[tuple[str, Any], Any],
    jobs: Iterable[tuple[str, Any]],
    told: list[Any],
    then: Callable[[], object] = lambda: None,
) -> None:
    for _, answer in workers.answers(jobs):
        told.append(answer)
        then()


def test_each_job_is_done_once_by_a_worker_that_is_free(stop: threading.Event, tmp_path: Path) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[tuple[str, int]]:
        for number in range(6):
            taken.append(number)
            yield "double", number

    looks: list[int] = []
    with two(stop, meanwhile=lambda: looks.append(len(taken))) as workers:
        processes_ = [worker.process for worker in workers._all]
        answers = list(workers.answers(jobs()))
        assert list(workers.answers([])) == []
        assert [told for _, told in workers.answers([("double", 7)])][1:] == [14]  # and once more, later
    told: dict[int, list[Any]] = {}
    for (_, number), answer in answers:
        told.setdefault(number, []).append(answer)
    assert sorted(told) == [0, 1, 2, 3, 4, 5]
    assert all(second == 2 * number and first[1] == number for number, (first, second) in told.items())
    assert {first[0] for first, _ in told.values()} == {"a", "b"}
    assert looks[0] == 4  # no job is taken long before somebody is there for it
    assert all(process.returncode is not None for process in processes_)


def test_what_a_job_raises_is_raised_and_what_is_under_way_is_told(stop: threading.Event) -> None:
    jobs = iter([("wait", 0), ("refuse", 0), ("double", 1), ("double", 1), ("double", 2)])
    told: list[Any] = []
    with two(stop) as workers, pytest.raises(RequestRefused, match=r"^orders: no such table\. Make it\.") as raised:
        hear(workers, jobs, told)
    assert (raised.value.code, raised.value.place, raised.value.hint) == ("NotFound", "orders", "Make it.")
    assert "worker_jobs.py" in raised.value.__notes__[0]
    assert told[1:] == ["stopped"] * len(told[:1])  # if it had begun
    assert list(jobs) == [("double", 2)]


@pytest.mark.parametrize(("job", "said"), [("unsendable", "Unsendable: cannot be sent"), ("exit", "SystemExit: 7")])
def test_an_error_that_cannot_be_handed_over_is_said(stop: threading.Event, job: str, said: str) -> None:
    with Workers(worker_jobs.begin, ["a"], stop) as workers, pytest.raises(RuntimeError, match=said):
        list(workers.answers([(job, 0)]))


def test_a_worker_that_is_killed_is_lost(stop: threading.Event) -> None:
    told: list[Any] = []
    with two(stop) as workers, pytest.raises(WorkerLost, match="was ended by SIGKILL") as raised:
        hear(workers, [("wait", 0), ("die", 0), ("double", 1)], told)
    assert "[run]" in raised.value.hint
    assert "about to" in told
    waiting = [each for each in told if isinstance(each, int)]
    assert told.count("stopped") == len(waiting)  # the other one, if it had begun, was asked to, and waited for


def test_a_stop_reaches_the_workers(stop: threading.Event) -> None:
    told: list[Any] = []
    with two(stop) as workers, pytest.raises(Stopped):
        hear(workers, [("wait", 0), ("wait", 0), ("double", 1)], told, lambda: stop.set() if len(told) == 2 else None)
    assert told.count("stopped") == 2
    with two(stop) as workers, pytest.raises(Stopped):
        list(workers.answers([("double", 1)]))


def test_workers_are_ended_where_their_user_fails(stop: threading.Event) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), two(stop) as workers:
        hear(workers, [("wait", 0)], [], fail)
    with pytest.raises(OSError, match="the disk is full"), two(stop, meanwhile=fail) as workers:
        hear(workers, [("wait", 0)], [])
    assert workers._all == []


def test_what_cannot_be_sent_leaves_no_process(stop: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(TypeError, match="pickle"), Workers(worker_jobs.begin, ["a", threading.Lock()], stop):
        raise AssertionError("it began")
    assert [each.returncode for each in started] == [-signal.SIGKILL, -signal.SIGKILL]


def test_none_outlives_its_parent_and_the_lock_is_held_until_it_is_gone(tmp_path: Path) -> None:
    """The parent is killed while the worker is stopped, as one is that waits for memory: nobody else may begin."""
    code = f"from {worker_jobs.__name__} import parent; parent({str(tmp_path)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for((tmp_path / "pid").exists, parent)
        worker = int((tmp_path / "pid").read_text())
        os.kill(worker, signal.SIGSTOP)
        state = Path(f"/proc/{worker}/stat")
        wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", parent)
    finally:
        parent.kill()
        parent.wait()
    ended = os.pidfd_open(worker)
    try:
        with pytest.raises(Locked):
            RunLock(tmp_path)
        os.kill(worker, signal.SIGCONT)
        assert select.select([ended], [], [], 10)[0]
    finally:
        os.close(ended)
    RunLock(tmp_path).release()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while not what():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def test_nothing_of_the_current_folder_is_imported(
    stop: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with Workers(worker_jobs.begin, ["a"], stop) as workers:
        assert [told for _, told in workers.answers([("double", 1)])] == [("a", 1), 2]
        assert workers._all[0].process.args[0] == sys.executable


@pytest.mark.parametrize(("section", "workers"), [("", 0), ("[run]", 0), ("[run]\nworkers = 3", 3)])
def test_the_project_says_how_many_there_may_be(tmp_path: Path, section: str, workers: int) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(f"[target]\n{section}\n")
    assert load_project(file).workers == workers


@pytest.mark.parametrize(("setting", "parallel"), [("", False), ("parallel_apply = true", True)])
def test_they_apply_where_the_project_says_so(tmp_path: Path, setting: str, parallel: bool) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(f"[target]\n[run]\n{setting}\n")
    assert load_project(file).parallel_apply == parallel


@pytest.mark.parametrize("setting", ["workers = 0", "workers = true", 'workers = "all"', "worker = 2"])
def test_another_number_is_refused(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(f"[target]\n[run]\n{setting}\n")
    with pytest.raises(ProjectError, match=r"run\.worker"):
        load_project(file)


def test_how_many_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    assert processes(3) == 3
    assert processes(0) == min(allowed, granted())
    granted_file = tmp_path / "cpu.max"
    monkeypatch.setattr(module, "_GRANTED", granted_file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(64))
    for text, most in (("max 100000\n", 64), ("250000 100000\n", 2), ("50000 100000\n", 1), ("", 64)):
        granted_file.write_text(text)
        assert processes(0) == most
    granted_file.unlink()
    assert processes(0) == 64


def granted() -> int:
    path = Path("/sys/fs/cgroup/cpu.max")
    text = path.read_text().split() if path.exists() else ["max"]
    return 10**6 if text[0] == "max" else max(1, int(text[0]) // int(text[1]))
