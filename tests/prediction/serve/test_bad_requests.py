"""What strangers send: it gets a 4xx, and nobody else's request notices."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions
from tests.prediction.serve.load import Load
from tests.prediction.serve.models import ROW, model, model_file
from whimbrel.prediction.serve.deploy import deploy
from whimbrel.prediction.serve.served import Call, Served
from whimbrel.project.endpoint import EndpointRule

PATH = f"/endpoints/{ENDPOINT}/invocations"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"


@pytest.fixture
def hasty(start: Callable[..., Running], tmp_path: Path) -> Running:
    """A server that gives a request one second."""
    rule = EndpointRule(ENDPOINT, "bank", capture_percent=0)
    assert deploy(tmp_path / ".whimbrel" / "serve", rule, model_file(tmp_path)).live
    return start()


@pytest.fixture
def stranger(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        yield client


def answer_to(client: socket.socket, *parts: bytes) -> tuple[int, bytes]:
    """Send the parts and read one answer."""
    for part in parts:
        client.sendall(part)
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, response.read()


def test_a_body_over_5_mb_is_refused_and_its_sender_sees_why(server: Running, stranger: socket.socket) -> None:
    size = (5 << 20) + 1
    status, body = answer_to(stranger, f"{HEAD}Content-Length: {size}\r\n\r\n".encode(), b"1" * size)
    assert status == 413
    assert b"5242880 bytes" in body
    assert stranger.recv(1) == b""


def test_a_body_of_5_mb_is_read(server: Running) -> None:
    row = f"34,{'x' * 1000},999,1.5\n"
    rows = (5 << 20) // len(row)
    assert len(predictions(server.invoke(row * rows))) == rows


def test_a_chunked_body_counts_as_it_comes(server: Running, stranger: socket.socket) -> None:
    chunk = b"100000\r\n" + b"1" * 0x100000 + b"\r\n"
    status, _ = answer_to(stranger, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), *([chunk] * 6))
    assert status == 413


def test_a_chunked_body_is_a_body(server: Running, stranger: socket.socket) -> None:
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    status, body = answer_to(stranger, head, b"8\r\n34,retir\r\n", b"a\r\ned,999,1.5\r\n0\r\n\r\n")
    assert (status, len(json.loads(body)["predictions"])) == (200, 1)


def test_the_client_is_told_to_go_on(server: Running, stranger: socket.socket) -> None:
    stranger.sendall(f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(ROW)}\r\n\r\n".encode())
    assert stranger.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer_to(stranger, ROW.encode())[0] == 200


NOT_HTTP = {
    "garbage": b"\x16\x03\x01\x02\x00\x01" * 10,
    "a bad length": f"{HEAD}Content-Length: -1\r\n\r\n".encode(),
    "two lengths": f"{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12".encode(),
    "a length and chunks": f"{HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    "packed chunks": f"{HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".encode(),
    "chunks of HTTP/1.0": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".replace("/1.1", "/1.0").encode(),
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_refused(server: Running, stranger: socket.socket, sent: bytes) -> None:
    assert answer_to(stranger, sent)[0] == 400
    assert stranger.recv(1) == b""


CHANGED = {
    "a packed body": ("Content-Encoding: gzip", 415, b"Content-Encoding 'gzip'"),
    "an unknown packing": ("Content-Encoding: x-mine", 415, b"Content-Encoding 'x-mine'"),
    "another expectation": ("Expect: 200-ok", 417, b"Expect '200-ok'"),
    "two types": ("Content-Type: application/json", 400, b"content-type appears twice"),
    "two operations": ("X-Amz-Target: SageMaker.A\r\nX-Amz-Target: SageMaker.B", 400, b"x-amz-target appears twice"),
    "two forms of an answer": ("Accept: text/csv\r\nAccept: application/json", 400, b"accept appears twice"),
    "two variants": (
        "X-Amzn-SageMaker-Target-Variant: A\r\nX-Amzn-SageMaker-Target-Variant: B",
        400,
        b"x-amzn-sagemaker-target-variant appears twice",
    ),
}


@pytest.mark.parametrize(("header", "status", "why"), CHANGED.values(), ids=CHANGED)
def test_a_header_that_changes_what_the_body_means_is_honoured_or_refused(
    server: Running, stranger: socket.socket, header: str, status: int, why: bytes
) -> None:
    found, body = answer_to(stranger, f"{HEAD}{header}\r\nContent-Length: {len(ROW)}\r\n\r\n{ROW}".encode())
    assert (found, why in body) == (status, True), body


def test_an_encoding_that_changes_nothing_is_taken(server: Running, stranger: socket.socket) -> None:
    head = f"{HEAD}Content-Encoding: identity\r\nVia: a\r\nVia: b\r\nContent-Length: {len(ROW)}\r\n\r\n"
    assert answer_to(stranger, f"{head}{ROW}".encode())[0] == 200


def test_head_has_the_head_of_get_and_the_connection_stays_in_step(server: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for path, status in [
            ("/ping", 200),
            ("/", 200),
            ("/status", 200),
            ("/metrics", 200),
            ("/x", 404),
            (PATH, 405),
        ] * 2:
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, b"")
            assert int(answer.headers["content-length"]) > 0
        connection.request("GET", "/ping")
        assert connection.getresponse().read() == b"{}"


def test_a_head_without_end_is_refused(server: Running, stranger: socket.socket) -> None:
    status, _ = answer_to(stranger, HEAD.encode(), *([b"x-more: " + b"y" * 20_000 + b"\r\n"] * 6))
    assert status == 431


def test_other_paths_and_methods_are_named(server: Running, stranger: socket.socket) -> None:
    assert answer_to(stranger, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 404
    assert answer_to(stranger, f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())[0] == 405
    assert answer_to(stranger, b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 405


def test_requests_in_one_packet_are_answered_in_their_order(server: Running, stranger: socket.socket) -> None:
    bodies = [f"{ROW}\n" * (3_000 if number % 3 == 0 else 1) for number in range(7)]
    stranger.sendall("".join(f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}" for body in bodies).encode())
    file = stranger.makefile("rb")
    for body in bodies:
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        headers = http.client.parse_headers(file)
        found = json.loads(file.read(int(str(headers["content-length"]))))
        assert len(found["predictions"]) == body.count("\n")


def test_a_slow_client_gets_a_time_out_and_nobody_waits_for_it(hasty: Running) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as slow:
        slow.sendall(f"{HEAD}Content-Length: 100\r\n\r\n34".encode())
        with Load(hasty.port, ROW, rate=100, connections=2) as load:
            status, body = answer_to(slow, b",")
        assert (status, load.errors) == (408, [])
        assert len(load.answers) > 25
        assert b"within 1 seconds" in body


def test_a_client_that_does_not_read_is_left(hasty: Running) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as deaf:
        body = f"{ROW}\n" * 60_000
        request = f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        deaf.settimeout(0.5)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            send_for(deaf, request, 20)
    assert predictions(hasty.invoke(ROW))


def send_for(client: socket.socket, request: bytes, seconds: float) -> None:
    """The answers fill the pipe, and then nothing is read from us any more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            client.sendall(request)


def connection(server: Running) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60))


def test_a_large_body_keeps_nobody_waiting(server: Running) -> None:
    with connection(server) as large, connection(server) as small:
        large.request("POST", PATH, f"{ROW}\n" * 100_000, {"Content-Type": "text/csv"})
        waits = []
        for _ in range(20):
            begun = time.monotonic()
            small.request("POST", PATH, ROW, {"Content-Type": "text/csv"})
            assert small.getresponse().read()
            waits.append(time.monotonic() - begun)
        assert len(json.loads(large.getresponse().read())["predictions"]) == 100_000
    assert sorted(waits)[10] < 0.1


SERVED = Served("m", model())
TYPES = st.sampled_from(["text/csv", "application/json", "application/jsonlines", "text/plain", ""])


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")), TYPES)
def test_any_body_is_answered_or_refused(body: bytes, content_type: str) -> None:
    answer = SERVED.answer(Call(body, content_type, ""))
    assert answer.status in (200, 400, 415)
    assert answer.body.decode()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["instances", "features", "data", "values", "keys", "shape", "age"]), inner)
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=3))
def test_any_json_is_answered_or_refused(instances: list[object]) -> None:
    body = json.dumps({"instances": instances}).encode()
    assert SERVED.answer(Call(body, "application/json", "")).status in (200, 400)


@given(
    st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["admin.", "a,b", 'quo"te', "", "ünknown\nx"])), min_size=1)
)
def test_slices_of_a_body_give_what_the_whole_gives(rows: list[tuple[int, str]]) -> None:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text).writerows([[age, job, "", 1.5] for age, job in rows])
    call = Call(text.getvalue().encode(), "text/csv", "")
    expected = [each.score for each in model().predict([[age, job, None, 1.5] for age, job in rows])]
    for at_once in (1, 2, 1_000):
        *_, answer = SERVED.steps(call, at_once)
        assert answer
        assert [each["score"] for each in json.loads(answer.body)["predictions"]] == expected
