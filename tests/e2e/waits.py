"""What a migration can be waiting for when a signal comes: each wait is one way to get it there, by its name."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from demo.servers import SqlServer
from tests.e2e.work import Work
from tests.faults import FaultProxy

FOR_EVER = 600.0
UNALIGNED = """
shape = "group"
partition_key = { name = "productid" }
entry = { name = "${customerid}|${orderid}", value = "quantity" }
"""
MIGRATE = ("migrate", "--until-caught-up")
SLOW_SOURCE, SLOW_TARGET = "max_rows_per_second = 20", "max_write_units = 30"


@dataclass
class Stage:
    """One migration, and the servers that it waits for."""

    work: Work
    proxy: FaultProxy

    @contextmanager
    def running(self, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
        process = self.work.start(*arguments, **more)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def set(self, *, source: str = "", target: str = "") -> None:
        self.work.source_settings, self.work.target_settings = f"chunk_rows = 20\nconnections = 2\n{source}", target
        self.work.write_project()

    def reach(self, phase: str, process: subprocess.Popen[str]) -> None:
        self.be_at_work(process)
        self.work.wait_for(self.work.in_phase(phase), process)

    def be_at_work(self, process: subprocess.Popen[str]) -> None:
        """Come as far as the run lock, which names the process."""
        lock = self.work.state / "lock"
        self.work.wait_for(lambda: lock.exists() and lock.read_text().strip() == str(process.pid), process)

    def be_loaded(self) -> None:
        self.set()
        self.work.call(*MIGRATE)
        self.work.source.execute("UPDATE purchase SET quantity = quantity + 1", database=self.work.database)

    def met(self, kind: str) -> Callable[[], bool]:
        return lambda: self.proxy.counts[kind] > 0


Waiting = AbstractContextManager[subprocess.Popen[str]]
WAITS: dict[str, Callable[[Stage], Waiting]] = {}


def wait(make: Callable[[Stage], Iterator[subprocess.Popen[str]]]) -> None:
    WAITS[make.__name__] = contextmanager(make)


# -- nothing is in the way ---------------------------------------------------------------------------------------------


@wait
def snapshot(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.set(source=SLOW_SOURCE)
    with stage.running("migrate") as process:
        stage.reach("snapshot", process)
        yield process


@wait
def load(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.set(target=SLOW_TARGET)
    with stage.running("migrate") as process:
        stage.reach("load", process)
        yield process


@wait
def load_of_partitions(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.work.mapping = UNALIGNED
    stage.set(target=SLOW_TARGET)
    with stage.running("migrate") as process:
        stage.work.wait_for((stage.work.state / "spill").exists, process)
        yield process


@wait
def apply(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    stage.set(target=SLOW_TARGET)
    with stage.running("migrate") as process:
        stage.reach("apply", process)
        yield process


@wait
def capture(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    with stage.running("capture") as process:
        stage.work.wait_for((stage.work.state / "log").exists, process)
        yield process


@wait
def refill(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    stage.set(source=SLOW_SOURCE)
    with stage.running("refill", "purchase") as process:
        stage.work.wait_for((stage.work.state / "refill").exists, process)
        yield process


# -- the target --------------------------------------------------------------------------------------------------------


def at_a_fault(stage: Stage, kind: str, *arguments: str, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    stage.proxy.add(kind, **settings)
    try:
        with stage.running(*arguments) as process:
            stage.work.wait_for(stage.met(kind), process)
            yield process
    finally:
        stage.proxy.clear()


@wait
def the_target_never_answers_at_the_start(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from at_a_fault(stage, "slow", "migrate", seconds=FOR_EVER)


@wait
def the_target_never_answers_in_the_load(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from at_a_fault(stage, "slow", "migrate", operation="BatchWriteItem", seconds=FOR_EVER)


@wait
def the_target_never_answers_in_apply(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    yield from at_a_fault(stage, "slow", "migrate", operation="UpdateItem", seconds=FOR_EVER)


@wait
def the_target_never_answers_in_verify(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    yield from at_a_fault(stage, "slow", "verify", operation="Scan", seconds=FOR_EVER)


@wait
def the_target_has_errors_in_the_load(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from at_a_fault(stage, "error_500", "migrate", operation="BatchWriteItem")


@wait
def the_target_throttles_in_apply(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    yield from at_a_fault(stage, "throttle", "migrate", operation="UpdateItem")


@wait
def the_target_throttles_in_verify(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.be_loaded()
    yield from at_a_fault(stage, "throttle", "verify", operation="Scan")


@wait
def the_target_leaves_all_out(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from at_a_fault(stage, "unprocessed", "migrate", share=1.0)


# -- the source --------------------------------------------------------------------------------------------------------


@wait
def the_source_accepts_and_never_answers(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    work = stage.work
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        file = work.folder / "whimbrel.toml"
        file.write_text(file.read_text().replace(f":{work.source.port}/", f":{silent.getsockname()[1]}/"))
        with stage.running("migrate") as process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                yield process


@contextmanager
def standing_still(server: SqlServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def gone(server: SqlServer) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


def while_the_source(stage: Stage, is_so: Any, phase: str) -> Iterator[subprocess.Popen[str]]:
    """In the middle of ``phase``, and until all that asks it something waits for the answer."""
    if phase == "snapshot":
        stage.set(source=SLOW_SOURCE)
    else:
        stage.be_loaded()
    with stage.running("migrate") as process:
        stage.reach(phase, process)
        if phase == "snapshot":  # before its first chunk it needs the source, and ends without it
            stage.work.wait_for(lambda: any(stage.work.state.glob("export/*/*.zst")), process)
        with is_so(stage.work.source):
            time.sleep(2.5)  # the watch asks every two seconds
            yield process


@wait
def the_source_stands_still_in_the_snapshot(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from while_the_source(stage, standing_still, "snapshot")


@wait
def the_source_stands_still_in_apply(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from while_the_source(stage, standing_still, "apply")


@wait
def the_source_is_gone_in_the_snapshot(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from while_the_source(stage, gone, "snapshot")


@wait
def the_source_is_gone_in_apply(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    yield from while_the_source(stage, gone, "apply")


@wait
def a_lock_keeps_the_rows(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """Of the table that is to be read."""
    work = stage.work
    work.begin()
    with work.source.connect(work.database) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES purchase WRITE")
        with stage.running("migrate") as process:
            work.wait_for(lambda: is_kept_waiting(work), process)
            yield process


@wait
def the_start_waits_for_a_commit(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """For that of a prepared XA transaction, which may be in the binary log and not yet be seen."""
    work = stage.work
    with work.source.connect(work.database) as holder, holder.cursor() as cursor:
        cursor.execute("XA START 'x'")
        cursor.execute("INSERT INTO purchase VALUES ('c', 'x', 'p', 1)")
        cursor.execute("XA END 'x'")
        cursor.execute("XA PREPARE 'x'")
        try:
            with stage.running("migrate") as process:
                stage.be_at_work(process)
                yield process
        finally:
            cursor.execute("XA COMMIT 'x'")


def is_kept_waiting(work: Work) -> bool:
    """Whether a session of whimbrel's waits for a lock on the table."""
    rows = work.source.execute("SELECT USER, STATE FROM information_schema.PROCESSLIST")
    return any(user == work.source.user and "metadata lock" in str(state) for user, state in rows)


# -- who reads what it says --------------------------------------------------------------------------------------------


@wait
def its_output_is_not_read(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    stage.set(target=SLOW_TARGET)
    reading, writing = os.pipe()
    try:
        size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writing, b"-" * size)
        with stage.running("migrate", "--json", stdout=writing, stderr=writing) as process:
            stage.reach("load", process)
            yield process
    finally:
        os.close(reading)
        os.close(writing)
