"""SIGKILL of whimbrel, of the SQL server and of the stand-in for DynamoDB, within cutovers, the reverse stream and
rollbacks: at random moments, and at random durable steps, while an application writes. Also Ctrl-C, and a full disk.

After each kill never both sides are open; the same command then leaves exactly one, and that one has every write that
was acknowledged, says the application's own log. Of ministack nothing is left after a kill, so the stand-in is
``streams_server``, which keeps its items and its streams; its shards split meanwhile.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pymysql
import pytest

from demo.application import Route, Writer
from demo.servers import Server, ServerUnavailable, SqlServer
from tests.handover import both_sides
from tests.handover.both_sides import Site
from tests.handover.closing import REFUSED, TRIGGERS, close_by, is_shut
from tests.handover.forked import Command, Ended, ForkedWork
from tests.handover.site import StreamsServer
from tests.handover.striking import CTRL_C, DISK_FULL, KILL, Step
from tests.handover.through import Through, through

MAY_END_WITH = {
    "cutover": {"CutoverUndone", "HandoverError", "NotReady", "SourceUnreachable", "TargetUnreachable"},
    "rollback": {"RollbackUndone", "HandoverError", "SourceUnreachable", "TargetUnreachable"},
}
SPLITS = 6  # of each table's stream: to find an end by markers takes longer with each shard
TRIES = 4  # of the same command, once everything is up again
STEPS = {"cutover": 24, "rollback": 26}  # durable steps at which one may be killed, at most


class Writers:
    """The demo's application, as threads of this process: they are stopped for each look."""

    def __init__(self, site: Site, kind: type[Writer]) -> None:
        self._stop = threading.Event()
        route = Route(Path(site.settings.route))
        self._writers = [kind(site.settings, number, route, self._stop) for number in range(site.settings.threads)]
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._stop.clear()
        self._threads = [threading.Thread(target=self._run, args=(writer,)) for writer in self._writers]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def _run(self, writer: Writer) -> None:
        try:
            writer.run()
        except BaseException as error:
            self._failures.append(error)
            raise


class Chaos:
    """A site, what is killed, and a seed."""

    def __init__(
        self,
        site: Site,
        streams: StreamsServer,
        seed: int,
        at_steps: float = 0.5,
        fence: str = TRIGGERS,
        stream: Through | None = None,
    ) -> None:
        """``at_steps``: how many of the kills are at durable steps, the others at moments. ``stream``: what the changes
        go through, and is killed too.
        """
        assert isinstance(site.work, ForkedWork)
        self.site, self.work, self.source, self.streams = site, site.work, site.work.source, streams
        self.chance = random.Random(seed)
        self.writers = Writers(site, close_by(fence, site))
        self.stream = stream
        self.servers: dict[str, Server] = {"source": self.source, "target": streams}
        if stream:
            self.servers |= {"kinesis": stream.kinesis, "function": stream.function}
        self.splits = 0
        self.steps, self.at_steps = dict(STEPS), at_steps
        self.missed = False  # the last command had ended before anything was killed
        self.took = {"cutover": 1.5, "rollback": 2.5, "follow": 1.0}  # seconds, about

    # -- one kill ----------------------------------------------------------------------------------------------------

    def one(self) -> str:
        """Kill something, continue, and judge; says what was done."""
        began = time.monotonic()
        phase = "cutover" if self.site.step() == "FOLLOWING" else self.chance.choice(["follow", "rollback", "rollback"])
        if phase == "cutover":
            self.work.run("migrate", "--until-caught-up")
            self.work.run("verify")
        elif self.splits < SPLITS and self.chance.random() < 0.3:
            self.splits += 1
            for table in (self.site.settings.purchase, self.site.settings.customer):
                self.streams.call("Split", TableName=table)
        if self.stream and self.chance.random() < 0.3:
            self.stream.reshard(self.chance)
        victim = self.chance.choice(["whimbrel", *self.servers])
        if phase == "follow":
            said, ended = self._follow(victim)
        else:
            said, ended = self._killed(phase, victim)
        self._never_both()
        self._settle(phase, ended)
        self._judge()
        how = f"{'too late, ' if self.missed else ''}{ended.error or ended.code}"
        return f"{phase}: {victim} {said}: {how}; {self.site.step()} after {time.monotonic() - began:.1f} s"

    def before_each_step(self, verb: str, how: str = KILL) -> int:
        """How many durable steps ``verb`` has, before each of which it was struck. Every second time the same command
        goes on; else what undoes it, where it still may be: ``cutover`` a rollback, ``migrate`` a cutover.
        """
        for number in itertools.count(1):
            self._be_ready_for(verb)
            command = self.work.fork(*self._arguments(verb), step=Step(number, before=True, how=how))
            ended = command.wait()
            if not command.struck:
                assert ended.code == 0, ended.err
                return number - 1
            self._judge_end(ended, how)
            self._never_both()
            again = verb
            if number % 2 == 0 and verb == "cutover":
                undoing = self.work.fork("migrate", "--until-caught-up").wait()
                assert undoing.code == 0 or undoing.error == "TargetOpen", undoing.err
            elif number % 2 == 0 and self.site.step() != "FOLLOWING":
                ended = self.work.fork(*self._arguments("cutover")).wait()
                again = "rollback" if "a rollback was decided" in ended.err else "cutover"
            if how == DISK_FULL:  # there is room again
                ended = self.work.fork(*self._arguments(again)).wait()
            self._settle(again, ended)
            self._judge()
        raise AssertionError

    def at_once(self) -> str:
        """Several shells, in each of which a command is begun; says how they ended."""
        verbs = self.chance.choices(["cutover", "rollback", "migrate", "verify"], k=4)
        more = {"migrate": ["migrate", "--until-caught-up"], "verify": ["verify"]}
        running = []
        for verb in verbs:
            running.append(self.work.fork(*more.get(verb, self._arguments(verb))))
            time.sleep(self.chance.choice([0.0, 0.1, 0.5]))  # what is tried is a moment, whatever it is
        ended = [command.wait() for command in running]
        assert not any("Traceback" in each.err for each in ended), ended
        self._never_both()
        assert self.site.step() in ("FOLLOWING", "OPEN"), ended
        self._judge()
        return ", ".join(f"{verb} {each.error or each.code}" for verb, each in zip(verbs, ended, strict=True))

    def _judge_end(self, ended: Ended, how: str) -> None:
        """By whatever ended it but a kill, one side is open again, or the decision stands."""
        assert "Traceback" not in ended.err
        if how == KILL:
            assert ended.code == -9
        if how == CTRL_C:
            assert ended.code in (0, 130), ended.err
            assert self.site.step() in ("FOLLOWING", "DECIDED", "OPEN", "RETURNED"), ended.err
        if how == DISK_FULL and ended.code:
            assert "No space left" in ended.err

    def _be_ready_for(self, verb: str) -> None:
        if verb == "cutover" and self.site.step() == "OPEN":
            self.site.said("rollback")
            self.site.wait_for_writes("mysql", 20)
        if self.site.step() == "FOLLOWING":
            self.work.run("migrate", "--until-caught-up")
            self.work.run("verify")
        if verb == "rollback" and self.site.step() == "FOLLOWING":
            self.site.said("cutover", "--until-open")
            self.site.wait_for_writes("dynamodb", 20)

    def _killed(self, verb: str, victim: str) -> tuple[str, Ended]:
        if self.chance.random() < self.at_steps:
            step = Step(self.chance.randint(1, self.steps[verb]), self.chance.random() < 0.5, self._pid(victim))
            command = self.work.fork(*self._arguments(verb), step=step)
            ended = self._ended(command, victim)
            self.missed = not command.struck
            if self.missed and ended.code == 0:
                self.steps[verb] = step.number - 1  # there is no such step
            return f"{'before' if step.before else 'after'} step {step.number}", ended
        moment = self.chance.uniform(0.0, self.took[verb])
        command = self.work.fork(*self._arguments(verb))
        ended = self._at(command, victim, moment)
        self.took[verb] *= 0.8 if self.missed else 1.1
        return f"after {moment:.2f} s", ended

    def _follow(self, victim: str) -> tuple[str, Ended]:
        command = self.work.fork("cutover", "--yes")
        self.work.wait_for(lambda: "following it back" in command.said() or not command.running)
        assert command.running, command.wait().err
        moment = self.chance.uniform(0.0, self.took["follow"])
        ended = self._at(command, victim, moment, after=self.chance.uniform(0.0, 1.0))
        return f"after {moment:.2f} s", ended

    def _at(self, command: Command, victim: str, moment: float, after: float | None = None) -> Ended:
        """``after`` seconds after the kill it is interrupted, if it still runs."""
        time.sleep(moment)  # what is tried is a moment, whatever it is
        self.missed = not command.running
        if victim == "whimbrel":
            command.kill()
        else:
            self.servers[victim].kill()
        if after is None:
            return self._ended(command, victim)
        self._start_again()
        time.sleep(after)
        command.interrupt()
        return command.wait()

    def _ended(self, command: Command, victim: str) -> Ended:
        """The servers come back a moment after they were killed."""
        pids = [server.pid for server in self.servers.values() if server.running]
        while command.running:
            self._start_again()
            time.sleep(0.02)
        ended = command.wait()
        if command.struck and victim != "whimbrel" and self._pid(victim) in pids:
            while self.servers[victim].running:  # it was killed in the last moment
                time.sleep(0.01)
        self._start_again()
        return ended

    def _start_again(self) -> None:
        for server in self.servers.values():
            if not server.running:
                time.sleep(self.chance.choice([0.0, 0.0, 0.5, 2.0]))
                server.kill()  # what is left of it: it must be waited for
                server.start()

    def _pid(self, victim: str) -> int:
        return 0 if victim == "whimbrel" else self.servers[victim].pid

    @staticmethod
    def _arguments(verb: str) -> list[str]:
        return [verb, "--yes", *(["--until-open"] if verb == "cutover" else [])]

    # -- afterwards --------------------------------------------------------------------------------------------------

    def _settle(self, phase: str, ended: Ended) -> None:
        """The same command, once everything is up, which may itself be killed."""
        verb = "cutover" if phase == "follow" else phase
        if phase == "follow":
            assert ended.code in (-9, 130) or ended.error, ended.err
        if self.chance.random() < 0.25 and ended.code:
            step = Step(self.chance.randint(1, STEPS[verb]), self.chance.random() < 0.5)
            ended = self.work.fork(*self._arguments(verb), step=step).wait()
            self._never_both()
        for _ in range(TRIES):
            if self._is_settled(verb, ended):
                break
            ended = self.work.fork(*self._arguments(verb)).wait()
        else:
            raise AssertionError(f"{verb} does not end: {self.site.step()}\n{ended.err}")
        side = "dynamodb" if self.site.step() == "OPEN" else "mysql"
        assert self._open() == {side}, (side, self._open())
        told = json.loads(self.work.run("status", "--json").stdout)
        assert told["handover"]["side"] == side if told.get("handover") else side == "mysql", told
        self.site.wait_for_writes(side, 5)

    def _is_settled(self, verb: str, ended: Ended) -> bool:
        """Done, or undone and said so."""
        assert ended.code in (0, -9, 130) or ended.error in MAY_END_WITH[verb], f"{ended.code}\n{ended.err}"
        if ended.error in ("CutoverUndone", "NotReady"):
            assert self.site.step() == "FOLLOWING", ended.err
        if ended.error == "RollbackUndone":
            assert self.site.step() == "OPEN", ended.err
        return self.site.step() in ("FOLLOWING", "OPEN") and ended.code != -9

    def _never_both(self) -> None:
        assert len(self._open()) < 2, self._open()

    def _open(self) -> set[str]:
        """Where the application's writes are taken: by its route, and by a write that is taken back again."""
        path = Path(self.site.settings.route)
        side = json.loads(path.read_bytes())["side"] if path.exists() else "mysql"
        found = {"dynamodb"} if side == "dynamodb" else set()
        login = {"user": self.site.settings.user, "autocommit": False}
        with self.source.connect(self.work.database, **login) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 20")
            for statement in (
                "INSERT INTO purchase VALUES ('probe', 'o', 'p', 1)",
                "INSERT INTO customer VALUES ('probe', 'p', 1, NULL)",
            ):
                try:
                    cursor.execute(statement)
                    found.add("mysql")
                except pymysql.err.OperationalError as error:
                    if error.args[0] not in REFUSED:
                        raise
                    found.add("closed")
            connection.rollback()
        if "closed" in found and "mysql" in found:
            found.discard("mysql")  # one of the tables is closed: the fence is half made, or half gone
            found.add("half")
        if is_shut(self.work.folder):
            found.discard("mysql")
        return found - {"closed"}

    def end(self) -> None:
        """Both sides have it all: MySQL is open, and DynamoDB follows."""
        if self.site.step() != "FOLLOWING":
            self.site.said("rollback")
        self.site.wait_for_writes("mysql", 20)
        self._judge()
        self.writers.stop()
        self.work.run("migrate", "--until-caught-up")
        self.work.run("verify")
        assert self.site.at_dynamodb() == []

    def _judge(self) -> None:
        self.writers.stop()
        wrong = self.site.at_dynamodb() if self.site.step() == "OPEN" else self.site.at_mysql()
        assert wrong == []
        self.writers.start()


@contextmanager
def chaos(kind: type[SqlServer], folder: Path, seed: int, *, stream: bool = False, **more: Any) -> Iterator[Chaos]:
    """On servers of its own: the variable must be set again when the server comes back. ``stream``: through one."""
    try:
        source = kind(folder / "sql", options=["--log-bin-trust-function-creators=1"]).start()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with (
        source,
        StreamsServer(folder / "streams").start() as streams,
        through(streams, folder) if stream else nullcontext() as between,
    ):
        lines = between.project_lines if between else ""
        load: Any = {"threads": 4, "rate": 100, "more": lines}
        site = both_sides.make(source, streams, source.new_database(), folder, kind=ForkedWork, **load)
        made = Chaos(site, streams, seed, stream=between, **more)
        made.writers.start()
        try:
            site.wait_for_writes("mysql", 20)
            yield made
        finally:
            made.writers.stop()


def survives(kind: type[SqlServer], folder: Path, kills: int, seed: int, **more: Any) -> None:
    with chaos(kind, folder, seed, **more) as made:
        done = 0
        while done < kills:
            said = made.one()
            done += not made.missed
            print(f"{kind.name} seed {seed} {done}: {said}", flush=True)
        made.end()
        print(f"{made.site.notes.acknowledged():,} writes acknowledged")
