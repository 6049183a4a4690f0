"""Calls under way at once in one thread: none waits for another one, whatever that one's connection does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dynamodb.scripted import answer, request_on
from tests.dynamodb.test_http import _accepting, _self_signed
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import AtOnce, complete, moment, readable, whose
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import TargetUnreachable
from whimbrel.project import Target
from whimbrel.records import Put

LARGE = b'{"a":"' + b"x" * 3_000_000 + b'"}'


class Wide(ConcurrencyLimit):
    """From the beginning as many as there may be."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._value = most


@contextlib.contextmanager
def serving(reply: Callable[[bytes], bytes], certificate: Path | None = None) -> Iterator[int]:
    """``reply`` makes the answer of a request; "" leaves it without one, and the connection open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if context and certificate:
        context.load_cert_chain(certificate)
    over = threading.Event()

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) if context else plain as connection:
            while request := request_on(connection):
                if not (data := reply(request)):
                    over.wait(60)
                    return
                connection.sendall(data)

    with _accepting(serve) as port:
        yield port
    over.set()


def all_of(wire: DynamoClient, bodies: list[bytes]) -> list[bytes]:
    async def ask(body: bytes) -> bytes:
        return await wire.ask("Scan", body)

    return AtOnce(ask, Wide(8)).do_all(bodies)


def test_large_bodies_go_both_ways_over_tls_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = _self_signed(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with serving(lambda request: answer(request.partition(b"\r\n\r\n")[2]), certificate) as port:
        wire = DynamoClient(Target(endpoint=f"https://localhost:{port}"))
        bodies = [LARGE + b" " * n for n in range(12)]
        for _ in range(2):
            assert sorted(all_of(wire, bodies)) == sorted(bodies)
        wire.close()


def test_one_that_has_no_answer_keeps_no_other_waiting() -> None:
    with serving(lambda request: b"" if b"silent" in request else answer(b"{}")) as port:
        wire = DynamoClient(Target(endpoint=f"http://127.0.0.1:{port}"), timeout=0.3)
        ended: list[bytes] = []

        async def ask(body: bytes) -> None:
            try:
                await wire.ask("Scan", body)
            finally:
                ended.append(body)

        with pytest.raises(TargetUnreachable, match="no answer in time"):
            AtOnce(ask, Wide(2)).do_all([b'"silent"', *[b"%d" % n for n in range(50)]])
        assert ended == [*[b"%d" % n for n in range(50)], b'"silent"']
        wire.close()


def test_a_host_that_takes_no_connection_is_given_up() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = full.getsockname()[1]
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:  # fills the queue of those that wait to be accepted
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", port))
    wire = DynamoClient(Target(endpoint=f"http://127.0.0.1:{port}"), connect_timeout=0.1)
    with pytest.raises(TargetUnreachable, match="cannot connect: timed out"):
        wire.call("Scan", b"{}")
    for each in [*waiting, full]:
        each.close()


def test_who_closes_the_client_ends_what_is_under_way() -> None:
    asked = threading.Event()

    def silent(request: bytes) -> bytes:
        asked.set()
        return b""

    with serving(silent) as port:
        wire = DynamoClient(Target(endpoint=f"http://127.0.0.1:{port}"))

        def close() -> None:
            assert asked.wait(10)
            wire.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(TargetUnreachable):
            all_of(wire, [b"{}"])
        closer.join()


class Breaking(ConcurrencyLimit):
    """Without memory in the middle of a round."""

    def __init__(self, after: int) -> None:
        super().__init__(8)
        self._after = after

    @property
    def now(self) -> int:
        self._after -= 1
        if not self._after:
            raise MemoryError
        return 8


def test_what_was_sent_by_a_round_that_broke_may_still_arrive() -> None:
    astray: list[str] = []
    asked = threading.Semaphore(0)

    def silent(request: bytes) -> bytes:
        asked.release()
        return b""

    with serving(silent) as port:
        target = Target(endpoint=f"http://127.0.0.1:{port}")
        wire = DynamoClient(target)
        writer = Writer(wire, target, astray=lambda some: astray.extend(each.table for each in some))
        writer._at_once._limit = Breaking(3)
        with pytest.raises(MemoryError):
            writer.write([Put("t", {"pk": {"S": str(n)}}, {"pk": {"S": str(n)}}) for n in range(60)])
        assert astray == ["t"] * 50, "of the two that were begun"
        wire.close()


def test_a_job_is_told_from_the_others_and_from_its_thread() -> None:
    seen: set[int] = set()

    async def work(job: int) -> bool:
        mine = whose()
        seen.add(mine)
        await moment(0.001)
        return whose() == mine

    assert AtOnce(work, Wide(3)).do_all(range(3)) == [True] * 3
    assert len(seen) == 3
    assert whose() == threading.get_ident()
    assert whose() not in seen


def test_what_is_waited_for_alone_is_as_patient() -> None:
    left, right = socket.socketpair()
    began = time.monotonic()

    async def until_readable(seconds: float) -> None:
        await readable(left, seconds)

    with left, right:
        with pytest.raises(TimeoutError):
            complete(until_readable(0.05))
        assert time.monotonic() - began > 0.04
        right.send(b"x")
        complete(until_readable(10))
