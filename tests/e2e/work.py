"""A migration to be tried: a source table, a target table, a project file, and whimbrel run as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import getsource
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from demo.servers import DynamoServer, SqlServer
from tests.e2e import judge
from tests.forked import command
from whimbrel.cli.main import main

GROUP = """
shape = "group"
partition_key = { name = "customerid" }
sort_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }
"""
UNALIGNED = """
shape = "group"
partition_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }
exclude = ["customerid"]
assert_unique = true
"""
RECORD = """
shape = "record"
partition_key = { name = "customer_orderid", value = "${customerid}|${orderid}" }
sort_key = { name = "productid" }
exclude = ["customerid", "orderid"]
"""
PATIENCE = 240.0  # seconds for what must come; only a failure takes as long, however busy the machine is


def few_for_workers() -> None:
    """Workers load and verify however few rows there are, and although a cap makes it last. They apply a few changes at
    a time where the project says that they may.
    """
    from whimbrel.migration import apply, apply_crew, first_look, load

    load.SECONDS_FOR_WORKERS, load.UNITS_OF_A_WORKER, first_look.ROWS_FOR_A_WORKER = 0.0, 1, 0
    apply.FIRST_BATCH, apply.LARGEST_BATCH = 3, 20
    apply_crew.LEFT_FOR_ONE = 0


# A program for which that is so.
WITH_WORKERS = f"{getsource(few_for_workers)}few_for_workers()\nfrom whimbrel.__main__ import run\nrun()\n"
# With WHIMBREL_TEST_WORKERS=1, tests load, apply and verify by workers, in the processes that they start, and kill, and
# in their own.
BY_WORKERS = bool(os.environ.get("WHIMBREL_TEST_WORKERS"))
if BY_WORKERS:
    few_for_workers()
RUN = "[run]\nworkers = 2\nparallel_apply = true"
PROGRAM = ("-c", WITH_WORKERS) if BY_WORKERS else ("-m", "whimbrel")


@dataclass
class Work:
    """``endpoint_url`` may be that of a proxy before ``endpoint``."""

    folder: Path
    source: SqlServer
    database: str
    endpoint: DynamoServer
    target: str
    mapping: str = GROUP
    table: str = "purchase"
    endpoint_url: str = ""
    source_settings: str = "chunk_rows = 1000"
    target_settings: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = PROGRAM
    forked: bool = True  # its processes; otherwise an interpreter is started for each

    def write_project(self) -> None:
        (self.folder / "whimbrel.toml").write_text(f"""
[source]
url = "{self.source.url(self.database)}"
{self.source_settings}
[target]
endpoint = "{self.endpoint_url or self.endpoint.endpoint}"
region = "us-east-1"
{self.target_settings}
[[table]]
source = "{self.database}.{self.table}"
target = "{self.target}"
{self.mapping}
{"" if not BY_WORKERS or "[run]" in self.mapping or '"lambda"' in self.mapping else RUN}
""")

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """``whimbrel …`` in the project's folder, in the background. ``more`` goes to Popen."""
        environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": self.source.password} | self.environment
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        plain = self.program == ("-m", "whimbrel") and more.keys() <= {"stdin", "stdout", "stderr"}
        if self.forked and plain:
            return command(arguments, self.folder, environment, **more)
        started = [sys.executable, *self.program, *arguments]
        return subprocess.Popen(started, cwd=self.folder, env=environment, text=True, **more)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """``whimbrel …`` to its end, which must be the exit code ``code``."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"whimbrel {arguments} did not end\n{out}\n{err}") from None
        assert process.returncode == code, f"whimbrel {arguments} ended with {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def call(self, *arguments: str, code: int = 0) -> Result:
        """``whimbrel …`` inside this process, which spares starting one; the exit code must be ``code``."""
        command, *options = arguments
        result = CliRunner().invoke(
            main,
            [command, "--project", str(self.folder / "whimbrel.toml"), *options],
            env={"WHIMBREL_SOURCE_PASSWORD": self.source.password} | self.environment,
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"whimbrel {arguments} ended with {result.exit_code}\n{result.output}"
        return result

    def verify(self, *, equal: bool = True) -> dict[str, Any]:
        """The first table's part of what ``whimbrel verify`` finds; its exit code must say the same."""
        report = json.loads(self.call("verify", "--json", code=0 if equal else 5).stdout.splitlines()[-1])
        assert report["equal"] == equal, report
        table: dict[str, Any] = report["tables"][0]
        return table

    def set_back(self, checkpoint: bytes) -> None:
        """The checkpoint of an earlier moment, as if the process had not lived to save the later ones: the mark is as
        it was then, too.
        """
        (self.state / "checkpoint.json").write_bytes(checkpoint)
        self.remove_marks()

    def remove_marks(self) -> None:
        """As a person does for a state folder that is given up."""
        for each in self.marks():
            key = {name: each[name] for name in ("target", "migration")}
            self.endpoint.client().delete_item(TableName="whimbrel", Key=key)

    def marks(self) -> list[dict[str, Any]]:
        """The marks of this target, as boto3 sees them."""
        found: list[dict[str, Any]] = self.endpoint.client().query(
            TableName="whimbrel",
            KeyConditionExpression="target = :t",
            ExpressionAttributeValues={":t": {"S": self.target}},
            ConsistentRead=True,
        )["Items"]
        return found

    def begin(self) -> None:
        """Fix the start; from now on every change is captured, though later."""
        self.call("capture", "--until-caught-up")

    def drain(self) -> None:
        """Capture and apply everything that the source has; the load must be done."""
        self.call("capture", "--until-caught-up")
        self.call("apply", "--until-caught-up")

    @property
    def state(self) -> Path:
        return self.folder / ".whimbrel"

    def letters(self) -> list[dict[str, Any]]:
        """The dead-letter file's lines."""
        path = self.state / "dead.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """``whimbrel …`` beside the test; ended by Ctrl-C, which must be clean."""
        process = self.start(*arguments)
        try:
            yield process
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 130, f"{process.returncode}\n{out}\n{err}"
            assert "Traceback" not in err
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def running_until_it_ends(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """``whimbrel …`` beside the test, which ends by itself."""
        process = self.start(*arguments)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def checkpoint(self) -> dict[str, Any]:
        path = self.state / "checkpoint.json"
        return (
            json.loads(path.read_text()) if path.exists() else {"phase": "new", "tables": {}, "applied_position": None}
        )

    def wait_for(
        self, what: Callable[[], Any], process: subprocess.Popen[str] | None = None, patience: float = PATIENCE
    ) -> None:
        """Wait until ``what`` is true; fail when ``process`` ends before, or after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not what():
            if process and process.poll() is not None:
                raise AssertionError(f"whimbrel ended with {process.returncode}: {process.communicate()}")
            assert time.monotonic() < deadline, f"still not so: {self.checkpoint()}"
            time.sleep(0.01)

    def in_phase(self, phase: str) -> Callable[[], bool]:
        return lambda: self.checkpoint()["phase"] == phase

    def assert_equal(
        self, expect: judge.Expect = judge.orders, key: tuple[str, ...] = ("customerid", "orderid")
    ) -> None:
        """Source and target hold the same, says the judge."""
        expected = expect(self.source, self.database)
        found = judge.items(self.endpoint, self.target, *key)
        assert expected == found, judge.differences(expected, found)

    def assert_nothing_lost(self) -> None:
        """Both sides hold the same, by GROUP or RECORD, verify says so too, and there is no dead letter."""
        if 'shape = "record"' in self.mapping:
            self.assert_equal(judge.lines, ("customer_orderid", "productid"))
        else:
            self.assert_equal()
        assert self.verify()["rows"] > 0
        assert self.letters() == []


def dump_threads(server: SqlServer) -> list[int]:
    """The server's connections over which a replica reads the binlog."""
    return [int(row[0]) for row in server.execute("SHOW PROCESSLIST") if str(row[4]).startswith("Binlog Dump")]
