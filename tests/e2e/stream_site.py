"""A migration whose load is done by Spark and whose changes go through a stream, and what befalls it: its processes and
its servers are killed, shards split and merge, records come that nobody can read, DynamoDB throttles, and a second
function serves the same stream from its beginning, late and twice.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from demo.resharding import merge, open_shards, split
from demo.servers import Dynalite, Kinesalite, Server
from tests.conftest import unique
from tests.e2e.kept_in_a_bucket import KeptInABucket
from tests.e2e.spark import STARTS_WITHIN, python_workers
from tests.e2e.work import Work
from tests.faults import FaultProxy

ROOT = Path(__file__).parents[2]
MOST_SHARDS = 12  # that there have ever been: the stand-in polls them all
POISON = (b"\\0", b"none", b"WHK1 none", b'{"type": "Insert", "row": {}}', b"\xff" * 1000)
CAP = "max_write_units = 40\n"  # so that a load takes long enough for kills in it
ENDS = ("SourceUnreachable", "TargetUnreachable", "WorkerLost")  # of a run, where it is started again
LIMIT_SECONDS = 5  # of an invocation
STRUCK_WITHIN = 20.0  # seconds: then the function is killed whatever it does


class FunctionProcess:
    """The function with its mapping, which reads the stream from its beginning; DynamoDB is behind a proxy."""

    def __init__(self, stream: str, kinesis: str, proxy: FaultProxy, environment: dict[str, str]) -> None:
        self.proxy = proxy
        command = [sys.executable, "-m", "demo.function", stream, kinesis, proxy.endpoint, str(LIMIT_SECONDS)]
        # Of each record that it cannot read it says so.
        self._process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.DEVNULL)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill_at(self, operation: str, struck: threading.Event) -> None:
        """At the answer to its next call of ``operation``, unless ``struck`` is set by then."""

        def strike(answer: Any) -> Any:
            if not struck.is_set():
                _end(self._process)  # and it has ended before anybody looks whether it runs
                struck.set()
            return answer

        self.proxy.add("changed", operation=operation, count=1, change=strike)

    def end(self) -> None:
        _end(self._process)


class StreamSite:
    """``hit`` counts what was done; a key that begins with "kill" is a kill."""

    def __init__(
        self,
        work: Work,
        dynalite: Dynalite,
        kinesalite: Kinesalite,
        chance: random.Random,
        form: str,
        kept: KeptInABucket | None,
    ) -> None:
        """``form`` is that of the records. With ``kept``, there are changes that no record takes."""
        self.work, self.kinesalite, self.chance, self._form, self._kept = work, kinesalite, chance, form, kept
        self.servers: dict[str, Server] = {"source": work.source, "target": dynalite, "stream": kinesalite}
        self.stream, self.hit = unique("stream"), Counter[str]()
        kinesalite.new_stream(self.stream, 2)
        self._write_project(CAP)
        self.proxies = [FaultProxy(dynalite.endpoint, seed=chance.randrange(1 << 30)) for _ in range(2)]
        self.sender = work.start("migrate", "--json")
        self.functions = [self._serve(self.proxies[0])]

    @property
    def kills(self) -> int:
        return sum(count for what, count in self.hit.items() if what.startswith("kill"))

    # -- while Spark loads -------------------------------------------------------------------------------------------

    def load(self, kills: int) -> None:
        """To the end of the load, with so many kills in it, or fewer if it ends before."""
        for _ in range(kills):
            if not self._is_loading():
                break
            time.sleep(self.chance.uniform(0.0, 2.0))  # the random moment: there is no event to wait for
            self.chance.choice([self.kill_task, self.kill_task, self.kill_run, self.kill_server])()
        while self._is_loading():
            time.sleep(0.1)
        self._write_project("")  # what is sent from here on has no cap
        self.kill_sender()

    def kill_task(self) -> None:
        workers = python_workers(self.sender.pid)
        if workers:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(workers[0], signal.SIGKILL)
                self.hit["kill: Spark task"] += 1

    def kill_run(self) -> None:
        """And with it its job."""
        self._kill_migrate("run with its Spark job")

    def _is_loading(self) -> bool:
        """Wait until tasks write; False once the load is done."""
        jobs, end = self.work.state / "spark", time.monotonic() + STARTS_WITHIN
        while self.work.checkpoint()["phase"] != "apply":
            self.keep_up()
            writing = self._kept.is_writing() if self._kept else any(jobs.glob("*/writing/*"))
            if writing and python_workers(self.sender.pid):
                return True
            assert time.monotonic() < end, self.work.checkpoint()
            time.sleep(0.02)
        return False

    # -- while changes go through the stream -------------------------------------------------------------------------

    def one(self) -> None:
        self.keep_up()
        mine = (self.kill_sender, self.kill_function, self.kill_function, self.kill_server)
        others = [self.reshard, self.poison, self.throttle, self.serve_twice]
        what = self.chance.choice([*mine, *others, *([self.stall_bucket] if self._kept else [])])
        what()

    def kill_sender(self) -> None:
        self._kill_migrate("sender")

    def kill_function(self) -> None:
        """In the middle of a batch: DynamoDB has carried out a call of it, and nobody hears the answer."""
        writes = "UpdateItem" if 'shape = "group"' in self.work.mapping else "BatchWriteItem"
        operation, struck = self.chance.choice([writes, "UpdateItem"]), threading.Event()  # this one for a lane, too
        for each in self.functions:
            each.proxy.clear()
            each.kill_at(operation, struck)
        end = time.monotonic() + STRUCK_WITHIN
        while not struck.wait(0.1) and time.monotonic() < end:
            self.keep_up()
        if not struck.is_set():
            self.functions[0].end()
        self.hit["kill: function in mid-batch" if struck.is_set() else "kill: function"] += 1
        for each in self.functions:
            each.proxy.clear()
        self.keep_up()

    def kill_server(self) -> None:
        name = self.chance.choice(sorted(self.servers))
        self.hit[f"kill: server of the {name}"] += 1
        self.servers[name].kill()
        time.sleep(self.chance.choice([0.0, 0.5, 2.0]))
        self.servers[name].start()

    def stall_bucket(self) -> None:
        """Nobody has an answer from it for some seconds."""
        assert self._kept
        self.hit["bucket without an answer"] += 1
        self._kept.stall(self.chance.uniform(0.5, 8.0))

    def serve_twice(self) -> None:
        """From the stream's beginning: what comes is late, and there twice."""
        self.hit["late and doubled invocations"] += 1
        for each in self.functions[1:]:
            each.end()
        self.functions[1:] = [self._serve(self.proxies[1])]

    def poison(self) -> None:
        self.hit["poison"] += 1
        for data in self.chance.sample(POISON, 3):
            key = str(self.chance.random())
            self.kinesalite.client.put_record(StreamName=self.stream, Data=data, PartitionKey=key)

    def throttle(self) -> None:
        self.hit["throttle"] += 1
        for proxy in self.proxies:
            proxy.add("throttle", probability=0.5, count=20)

    def reshard(self) -> None:
        found = self.kinesalite.client.describe_stream(StreamName=self.stream)["StreamDescription"]["Shards"]
        if len(found) >= MOST_SHARDS:
            return
        if len(open_shards(self.kinesalite, self.stream)) > 1 and self.chance.random() < 0.5:
            self.hit["merge"] += 1
            merge(self.kinesalite, self.stream)
        else:
            self.hit["split"] += 1
            split(self.kinesalite, self.stream, self.chance)

    # -- beside it ---------------------------------------------------------------------------------------------------

    def keep_up(self) -> None:
        """Start again what ended, also by itself as a server was away. A run must have said so by name."""
        if self.sender.poll() is not None:
            out, err = self.sender.communicate()
            assert any(f'"{name}"' in out for name in ENDS), f"ended with {self.sender.returncode}\n{out}\n{err}"
            self.sender = self.work.start("migrate", "--json")
        self.functions = [each if each.running else self._serve(each.proxy) for each in self.functions]

    def stop_sender(self) -> None:
        self.keep_up()
        _end(self.sender)

    def close(self) -> None:
        _end(self.sender)
        for each in self.functions:
            each.end()
        for proxy in self.proxies:
            proxy.close()

    def _kill_migrate(self, what: str) -> None:
        self.hit[f"kill: {what}"] += 1
        _end(self.sender)
        self.sender = self.work.start("migrate", "--json")

    def _write_project(self, cap: str) -> None:
        self.work.target_settings = (
            f'{cap}\n[log]\nengine = "kinesis"\nstream = "{self.stream}"\nendpoint = "{self.kinesalite.endpoint}"\n'
            f'format = "{self._form}"\n[apply]\nengine = "lambda"\n{self._kept.project_lines if self._kept else ""}'
        )
        self.work.write_project()

    def _serve(self, proxy: FaultProxy) -> FunctionProcess:
        environment = self._kept.environment if self._kept else {}
        return FunctionProcess(self.stream, self.kinesalite.endpoint, proxy, environment)


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.communicate()
