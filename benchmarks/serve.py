"""One prediction over HTTP: CPU at the server, requests a second on one core, and a swap of the model under load.

``python -m benchmarks.serve [--seconds N] [--rounds N]``. Server and client have a core each. 16 connections send one
row and wait for the answer; the CPU time is that of the server and its children, from /proc. The contestants are what
people would use instead. With our own scorer: a plain ASGI application on uvicorn and on granian, and FastAPI. With the
same kind of model as a scikit-learn pipeline on pandas: MLServer (its scikit-learn runtime, on a plain array, which
flatters it), FastAPI under uvicorn, and Flask under gunicorn with gevent, as in SageMaker's scikit-learn image. Where
their environment (rivals.py) cannot be had, they are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

from benchmarks.rivals import Contestant, free_port, rivals, same_scorer

CONNECTIONS = 16
ROWS = 20_000
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    name: str
    cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float


class Client(asyncio.Protocol):
    """Sends the same request again as soon as its answer is there, and keeps how long each took."""

    def __init__(self, request: bytes, taken: list[float]) -> None:
        self._request, self._taken = request, taken
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        assert head.startswith(b"HTTP/1.1 200"), self._data
        self._data = b""
        self._taken.append(time.perf_counter() - self._begun)
        self._send()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--echo", action="store_true", help="(internal) be the server that only echoes")
    options = parser.parse_args()
    if options.echo:
        _echo()
        return
    with tempfile.TemporaryDirectory() as folder:
        contestants = prepare(Path(folder))
        print(table(measure(contestants, options.seconds, options.rounds)))
        print()
        for line in swaps(contestants):
            print(line)


def prepare(folder: Path) -> list[Contestant]:
    """Train one model of each kind on made-up calls, and say how each contestant serves it."""
    import pyarrow as pa

    from demo import bank
    from whimbrel.prediction.train.train import model_path, train
    from whimbrel.project.predict import ModelRule

    rows = list(islice(bank.rows(ROWS, 0), ROWS))
    data = pa.Table.from_pylist(rows)
    body = ",".join(str(value) for name, value in rows[7].items() if name not in ("customer_id", "y")).encode()
    found = []
    for learner in ("linear", "boosted"):
        rule = ModelRule(name="bank", dataset="bank", target="y", learner=learner, exclude=("customer_id",))
        made = train(rule, data, manifest_id="benchmark", as_of="2026-01-01T00:00:00Z", folder=folder / learner)
        place = folder / f"serve-{learner}"
        place.mkdir()
        command = [sys.executable, "-m", "whimbrel", "serve", "--port", "{port}", "--model"]
        command.append(str(model_path(folder / learner, made.version)))
        path = "/endpoints/ServiceEndpoint/invocations"
        found.append(Contestant(f"whimbrel, {learner}", command, path, body, "text/csv", place))
    linear = Path(found[0].command[-1])
    echo = [sys.executable, "-m", "benchmarks.serve", "--echo"]
    here = {"PYTHONPATH": os.getcwd(), "PORT": "{port}"}
    found.append(Contestant("uvloop + httptools, echo", echo, "/", body, "text/csv", folder, here))
    return [*found, *same_scorer(folder, linear, body), *rivals(folder, data, rows[7])]


def measure(contestants: list[Contestant], seconds: float, rounds: int) -> list[Result]:
    """All in turn, round by round; the median of each."""
    rounds_of: dict[str, list[Result]] = {each.name: [] for each in contestants}
    for _ in range(rounds):
        for each in contestants:
            rounds_of[each.name].append(_measure(each, seconds))
    return [
        Result(name, *(statistics.median(getattr(one, key) for one in found) for key in _FIGURES))
        for name, found in rounds_of.items()
    ]


_FIGURES = ("cpu_us", "per_second", "p50_ms", "p99_ms")


def table(results: list[Result]) -> str:
    lines = [f"{'16 connections, one row a request':<44}{'CPU µs':>9}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}"]
    lines += [
        f"{each.name:<44}{each.cpu_us:>9.0f}{each.per_second:>12,.0f}{each.p50_ms:>9.2f}{each.p99_ms:>9.2f}"
        for each in results
    ]
    return "\n".join(lines)


def swaps(contestants: list[Contestant]) -> Iterator[str]:
    """A new model under 8 connections: how many requests failed."""
    ours = contestants[0]
    with _running(ours) as (port, _):
        with _eight(port, ours) as seen:
            update = [sys.executable, "-m", "whimbrel", "endpoint", "update", "ServiceEndpoint", "--at-once"]
            for _ in range(3):
                subprocess.run([*update, "--model", ours.command[-1]], cwd=ours.folder, check=True, capture_output=True)
        yield f"whimbrel, 3 updates under 8 connections: {seen}"
    for rival in contestants:
        if "gunicorn" in rival.name:
            with _running(rival) as (port, process):
                with _eight(port, rival) as seen:
                    process.send_signal(signal.SIGHUP)
                    time.sleep(6)
                yield f"gunicorn, 1 reload under 8 connections: {seen}"


def _measure(contestant: Contestant, seconds: float) -> Result:
    with _running(contestant) as (port, process):
        asyncio.run(_load(port, contestant, 1.0))
        before = _cpu(process.pid)
        taken = asyncio.run(_load(port, contestant, seconds))
        cpu = _cpu(process.pid) - before
    taken.sort()
    p50, p99 = taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3
    return Result(contestant.name, cpu / len(taken) * 1e6, len(taken) / seconds, p50, p99)


async def _load(port: int, contestant: Contestant, seconds: float) -> list[float]:
    request = (
        f"POST {contestant.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {contestant.content_type}\r\n"
        f"Accept: */*\r\nContent-Length: {len(contestant.body)}\r\n\r\n"
    ).encode() + contestant.body
    taken: list[float] = []
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(request, taken), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return taken


@contextlib.contextmanager
def _running(contestant: Contestant) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The server on the last core, ourselves on the first."""
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in contestant.command]
    environment = {name: value.replace("{port}", str(port)) for name, value in contestant.environment.items()}
    cores = sorted(os.sched_getaffinity(0))
    log = (contestant.folder / "log.txt").open("wb")
    process = subprocess.Popen(
        command,
        cwd=contestant.folder,
        env=os.environ | environment,
        stdout=log,
        stderr=log,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )
    os.sched_setaffinity(0, {cores[0]})
    try:
        _wait_until_it_answers(port, contestant, process)
        yield port, process
    finally:
        os.sched_setaffinity(0, cores)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_it_answers(port: int, contestant: Contestant, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=10), contestant)
            if status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"{contestant.name} does not answer: {(contestant.folder / 'log.txt').read_text()[-2000:]}")


def _ask(connection: http.client.HTTPConnection, contestant: Contestant) -> tuple[int, bytes]:
    connection.request("POST", contestant.path, contestant.body, {"Content-Type": contestant.content_type})
    answer = connection.getresponse()
    return answer.status, answer.read()


class _Seen:
    def __init__(self) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self.closed = 0  # connections that the server closed

    def __str__(self) -> str:
        return f"{len(self.failures)} of {self.calls:,} requests failed, {self.closed} connections closed"


@contextlib.contextmanager
def _eight(port: int, contestant: Contestant) -> Iterator[_Seen]:
    """Eight keep-alive connections that ask without a pause; a broken one is reopened."""
    seen, stop = _Seen(), threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not stop.is_set():
            try:
                status, body = _ask(connection, contestant)
                seen.calls += 1
                seen.closed += connection.sock is None
                if status != 200:
                    seen.failures.append(body.decode()[:100])
            except (OSError, http.client.HTTPException) as error:
                seen.calls += 1
                seen.failures.append(repr(error))
                seen.closed += 1
                connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        yield seen
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _cpu(pid: int) -> float:
    """CPU seconds of the process and all below it that live."""
    total, below = 0.0, [pid]
    while below:
        one = below.pop()
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
            for task in Path(f"/proc/{one}/task").iterdir():
                below += [int(child) for child in (task / "children").read_text().split()]
    return total


def _echo() -> None:
    """The floor in Python: parse the request, answer with as many bytes as a prediction has."""
    from whimbrel.prediction.serve.http import Connection
    from whimbrel.prediction.serve.listener import Limits, Listener
    from whimbrel.prediction.serve.responses import Response
    from whimbrel.prediction.serve.server import run

    answer = Response(200, b'{"predictions":[{"score":0.123456789,"predicted_label":0}]}')

    async def serve() -> None:
        listener = Listener(Limits(), lambda *head: None, lambda request: answer)
        port = int(os.environ["PORT"])
        await asyncio.get_running_loop().create_server(lambda: Connection(listener), "127.0.0.1", port)
        await listener.watch()

    run(serve())


# -- what people would use instead

if __name__ == "__main__":
    main()
