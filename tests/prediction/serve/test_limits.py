"""What one client can cost: memory that is never freed, time that never ends, heads without end."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

import pytest

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, serve_command, wait_for
from tests.prediction.serve.models import ROW, model_file
from tests.prediction.serve.test_bad_requests import HEAD, PATH, answer_to
from whimbrel.prediction.serve.deploy import deploy
from whimbrel.prediction.serve.figures import BOUNDS
from whimbrel.project.endpoint import EndpointRule

MB = 1 << 20
HEAD_LIMIT = 64 << 10
MEMORY = 48 * MB
ONE = f"{HEAD}Content-Length: {len(ROW)}\r\n\r\n{ROW}".encode()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that may hold 48 MB for its clients."""
    folder = tmp_path_factory.mktemp("small")
    command = serve_command(folder, f"[serve]\nmemory = {MEMORY}\n", "--model", str(model_file(folder)))
    running = Running(command, folder)
    assert predictions(running.invoke(f"{ROW}\n" * 20_000))  # what it needs at all, it has from here on
    yield running
    assert running.stop() == 0


@pytest.fixture
def hasty(start: Callable[..., Running], tmp_path: Path) -> Running:
    """A server that gives a request one second, and a silent connection five."""
    rule = EndpointRule(ENDPOINT, "bank", capture_percent=0)
    assert deploy(tmp_path / ".whimbrel" / "serve", rule, model_file(tmp_path)).live
    return start()


def memory(server: Running, kind: str = "VmRSS") -> int:
    """Bytes; VmHWM is the most there ever was."""
    [kib] = re.findall(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    return int(kib) * 1024


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


# -- memory

UNREAD = {
    "small answers": b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "large answers": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "predictions": ONE,
    "large predictions": f"{HEAD}Content-Length: {(len(ROW) + 1) * 2_000}\r\n\r\n{(ROW + chr(10)) * 2_000}".encode(),
}


@pytest.mark.parametrize("request_", UNREAD.values(), ids=UNREAD)
def test_answers_that_nobody_reads_stop_the_reading(small: Running, request_: bytes) -> None:
    before = memory(small)
    with connect(small) as deaf:
        deaf.settimeout(1.0)
        many = request_ * (MB // len(request_))
        sent = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(400):
                deaf.sendall(many)
                sent += len(many)
        assert sent < 200 * MB
        assert memory(small) - before < 16 * MB
        assert predictions(small.invoke(ROW))


def test_bodies_have_a_common_bound_and_their_memory_is_given_back(small: Running) -> None:
    before, size = memory(small), 49 * MB // 10
    head = f"{HEAD}Content-Length: {size}\r\n\r\n".encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(small)) for _ in range(30)]
        for client in clients:
            client.settimeout(5.0)
            with contextlib.suppress(OSError):
                client.sendall(head + b"1" * (size - 1))
        refused = [client for client in clients if answered(client)]
        assert 30 - len(refused) in range(5, 11)  # 48 MB are 9 of them and most of a tenth
        status, body = answer_to(refused[0])
        assert (status, b"memory" in body or b"bytes" in body) == (503, True)
        assert memory(small, "VmHWM") - before < MEMORY + 40 * MB
    wait_for(lambda: held(small) < MB)
    assert memory(small) - before < 16 * MB
    assert predictions(small.invoke(ROW))


def answered(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.settimeout(20)


def held(server: Running) -> int:
    with urlopen(f"{server.url}/metrics", timeout=10) as answer:
        [found] = re.findall(rb"^whimbrel_held_bytes (\d+)$", answer.read(), re.MULTILINE)
    return int(found)


WORDY = f"34,{'x' * 300},999,1.5"


@pytest.mark.parametrize("row", [WORDY, pytest.param(ROW, marks=pytest.mark.slow)], ids=["long rows", "short rows"])
def test_large_bodies_at_once_are_worked_on_within_the_bound(small: Running, row: str) -> None:
    before = memory(small, "VmRSS")
    body = f"{row}\n" * (2 * MB // len(row))
    found: list[int] = []

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", small.port, timeout=120)) as connection:
            connection.request("POST", PATH, body, {"Content-Type": "text/csv"})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {200, 503}
    assert 200 in found
    assert memory(small, "VmHWM") - before < MEMORY + 64 * MB


# -- time


def drip(client: socket.socket, first: bytes, drop: bytes) -> tuple[int, bytes]:
    """Send a drop ten times a second until there is an answer."""
    client.sendall(first)
    until = time.monotonic() + 15
    client.settimeout(0.1)
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            client.recv(1, socket.MSG_PEEK)
            break
        client.sendall(drop)
    client.settimeout(20)
    return answer_to(client)


SLOW = {
    "a request line": (b"", b"G"),
    "a head": (HEAD.encode(), b"x: y\r\n"),
    "a header": (HEAD.encode() + b"x: ", b"y"),
    "a body": (f"{HEAD}Content-Length: 100000\r\n\r\n".encode(), b"1"),
    "chunks": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\n1\r\n"),
    "a chunk's size": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), b"0"),
    "trailers": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n".encode(), b"x: y\r\n"),
}


@pytest.mark.parametrize(("first", "drop"), SLOW.values(), ids=SLOW)
def test_every_slow_part_of_a_request_has_an_end(hasty: Running, first: bytes, drop: bytes) -> None:
    with connect(hasty) as client:
        status, body = drip(client, first, drop)
        assert status in ((408,) if drop != b"G" and drop != b"0" else (408, 400))
        assert predictions(hasty.invoke(ROW))
        assert body


def test_a_silent_connection_has_an_end(hasty: Running) -> None:
    """After nothing, after an empty line, and after an answered request."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(hasty)) for _ in range(3)]
        for client, sent in zip(clients, (b"", b"\r\n", ONE), strict=True):
            client.sendall(sent)
        for client in clients:
            while client.recv(1 << 16):
                pass


def test_a_client_that_has_closed_its_side_gets_all_its_answers(server: Running) -> None:
    with connect(server) as client:
        client.sendall(ONE * 3)
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_stop_waits_for_what_is_answered_and_for_nothing_else(start: Callable[..., Running], tmp_path: Path) -> None:
    server = start("--model", str(model_file(tmp_path)))
    rows = 60_000
    busy = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with connect(server) as silent, closing(busy):
        silent.sendall(ONE)
        assert answer_to(silent)[0] == 200
        busy.request("POST", PATH, f"{ROW}\n" * rows, {"Content-Type": "text/csv"})
        wait_for(lambda: held(server) > MB)
        server.process.send_signal(signal.SIGTERM)
        answer = busy.getresponse()
        assert len(json.loads(answer.read())["predictions"]) == rows
        assert answer.headers["connection"] == "close"
        assert server.process.wait(10) == 0  # and not the 25 seconds that answers may take


# -- the head

EDGES = [(HEAD_LIMIT, 200), (HEAD_LIMIT + 1, 431)]
PIECES = {"at once": 1 << 20, "in pieces": 4_000, "in odd pieces": 1_461}


def padded(head: str, size: int, end: str) -> bytes:
    """``head`` with as many headers as make it ``size`` bytes long."""
    left = size - len(head) - len(end)
    lines = []
    while left:
        take = left if left <= 8_000 else 7_000
        lines.append(f"x-pad: {'y' * (take - 9)}\r\n")
        left -= take
    return f"{head}{''.join(lines)}{end}".encode()


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize(("size", "expected"), EDGES)
def test_a_head_has_one_limit_however_it_arrives(server: Running, size: int, expected: int, piece: int) -> None:
    head = padded(f"{HEAD}Content-Length: {len(ROW)}\r\n", size, "\r\n")
    assert len(head) == size
    sent = head + ROW.encode()
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        status, _ = answer_to(client, *(sent[start : start + piece] for start in range(0, len(sent), piece)))
    assert status == expected


@pytest.mark.parametrize(("size", "expected"), EDGES)
def test_trailers_count_as_the_head_does(server: Running, size: int, expected: int) -> None:
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    trailers = padded("", size - len(head), "")
    chunk = f"{len(ROW):x}\r\n{ROW}\r\n0\r\n"
    with connect(server) as client:
        status, _ = answer_to(client, head.encode() + chunk.encode() + trailers + b"\r\n")
    assert status == expected


def test_a_trailer_is_not_taken_for_a_header(server: Running) -> None:
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    trailer = "x-amzn-sagemaker-target-variant: nobody\r\nhost: evil.example\r\n"
    with connect(server) as client:
        status, _ = answer_to(client, f"{head}{len(ROW):x}\r\n{ROW}\r\n0\r\n{trailer}\r\n".encode())
    assert status == 200


def test_many_headers_are_refused(server: Running) -> None:
    with connect(server) as client:
        status, body = answer_to(client, HEAD.encode() + b"a:b\r\n" * 300 + b"\r\n")
    assert status == 431
    assert b"200 headers" in body


def test_more_around_the_chunks_than_in_them_is_refused(server: Running) -> None:
    with connect(server) as client:
        status, _ = answer_to(client, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\n1\r\n" * 60_000)
    assert status == 431


def test_a_burst_of_valid_requests_is_answered(server: Running) -> None:
    count = 3 * HEAD_LIMIT // len(ONE)
    with connect(server) as client:
        Thread(target=client.sendall, args=(ONE * count,)).start()
        file = client.makefile("rb")
        for _ in range(count):
            assert file.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = http.client.parse_headers(file)
            assert len(json.loads(file.read(int(str(headers["content-length"]))))["predictions"]) == 1


def test_what_is_wrong_behind_a_request_is_refused_after_its_answer(server: Running) -> None:
    with connect(server) as client:
        client.sendall(ONE + b"garbage\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"400"]


def test_another_protocol_is_not_offered_and_the_request_answered(server: Running) -> None:
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    with connect(server) as client:
        status, _ = answer_to(client, f"GET /ping HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
        assert status == 200
        assert client.recv(1) == b""


# -- what the page says of it


def test_the_page_says_what_the_clients_see(hasty: Running, tmp_path: Path) -> None:
    """Eight clients of a model that takes 30 ms wait 240 ms each: seven times for others."""
    rule = EndpointRule(ENDPOINT, "bank", capture_percent=0, traffic="ALL_AT_ONCE", wait=0, bake=0)
    assert deploy(tmp_path / ".whimbrel" / "serve", rule, model_file(tmp_path, "slow")).live
    taken: list[float] = []

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=20)) as connection:
            for _ in range(8):
                begun = time.monotonic()
                connection.request("POST", PATH, "66,retired,999,1.5", {"Content-Type": "text/csv"})
                connection.getresponse().read()
                taken.append(time.monotonic() - begun)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def shown() -> tuple[float, float] | None:
        with urlopen(f"{hasty.url}/status", timeout=10) as answer:
            [variant] = json.load(answer)["endpoints"][0]["variants"]
        return (variant["p50"], variant["p99"]) if variant["rate"] * 10 >= len(taken) else None

    p50, p99 = wait_for(shown)
    taken.sort()
    assert p50 >= taken[len(taken) // 2] * 0.8
    assert p99 >= taken[int(len(taken) * 0.9)] * 0.8
    assert p99 <= next(bound for bound in BOUNDS if bound >= taken[-1]) * 2.5
