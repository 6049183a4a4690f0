"""HTTP as servers and networks speak it, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dynamodb.scripted import CLOSE, ScriptedServer, answer, request_on
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetUnreachable, UnexpectedAnswer, UserError
from whimbrel.project import Target


def test_a_connection_is_kept(serve: Callable[..., tuple[ScriptedServer, DynamoClient]]) -> None:
    server, wire = serve(answer(b"{}"), answer(b'{"a":1}'))
    assert wire.call("ListTables", b"{}") == b"{}"
    assert wire.call("ListTables", b"{}") == b'{"a":1}'
    assert server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer(b'{"a":"b"}'),
        answer(b'{"a":"b"}', head="x-amz-crc32: " + str(zlib.crc32(b'{"a":"b"}')) + "\r\n"),
        b"HTTP/1.1 200 OK\r\ncontent-LENGTH:9\r\n\r\n" + b'{"a":"b"}',
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b'{"a":"b"}'),
        answer(b'4\r\n{"a"\r\n5;x=y\r\n:"b"}\r\n0\r\n\r\n', head="Transfer-Encoding: chunked\r\n", length=False),
        answer(b'9\r\n{"a":"b"}\r\n0\r\nTrailer: x\r\n\r\n', head="Transfer-Encoding: Chunked\r\n", length=False),
        answer(b'{"a":"b"}', head="Connection: close\r\n") + CLOSE,
        answer(b'{"a":"b"}', length=False) + CLOSE,
        b"HTTP/1.0 200 OK\r\n\r\n" + b'{"a":"b"}' + CLOSE,
    ],
)
def test_every_form_of_an_answer_is_read_and_the_next_call_works(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]], reply: bytes
) -> None:
    _, wire = serve(reply, answer(b"{}"))
    assert wire.call("ListTables", b"{}") == b'{"a":"b"}'
    assert wire.call("ListTables", b"{}") == b"{}"


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"{}", head="x-amz-crc32: 1\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Le" + CLOSE,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}{}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0_2\r\n\r\n{}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} " + CLOSE,
        answer(b"{}", head="x-amz-crc32: many\r\n") + CLOSE,
        answer(b";x=y\r\n{}\r\n0\r\n\r\n", head="Transfer-Encoding: chunked\r\n", length=False) + CLOSE,
        answer(b"2\r\n{}\r\n0\r\n", head="Transfer-Encoding: chunked\r\n", length=False) + CLOSE,
        answer(b"-2\r\n{}\r\n0\r\n\r\n", head="Transfer-Encoding: chunked\r\n", length=False) + CLOSE,
        answer(b"2\r\n{}!!0\r\n\r\n", head="Transfer-Encoding: chunked\r\n", length=False) + CLOSE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}" + CLOSE,
        answer(b"<html>log in to the hotel's network</html>"),
        answer(b"x" * 70_000, length=False).replace(b"\r\n\r\n", b"\r\n"),
    ],
)
def test_a_damaged_answer_is_an_unexpected_one(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]], reply: bytes
) -> None:
    server, wire = serve(reply, answer(b"{}"))
    with pytest.raises(UnexpectedAnswer, match=server.endpoint):
        wire.call("ListTables", b"{}")
    assert wire.call("ListTables", b"{}") == b"{}"


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"<html>bad gateway</html>", status="502 Bad Gateway"),
        answer(b"", status="503 Service Unavailable"),
        answer(b"", status="408 Request Timeout"),
    ],
)
def test_no_answer_is_target_unreachable(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]], reply: bytes
) -> None:
    server, wire = serve(reply, answer(b"{}"))
    with pytest.raises(TargetUnreachable, match=server.endpoint) as caught:
        wire.call("ListTables", b"{}")
    assert type(caught.value) is TargetUnreachable
    assert wire.call("ListTables", b"{}") == b"{}"


def test_a_kept_connection_that_the_server_closed_costs_one_silent_retry(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]],
) -> None:
    server, wire = serve(answer(b"{}"), CLOSE, answer(b'{"a":1}'), CLOSE, CLOSE)
    assert wire.call("ListTables", b"{}") == b"{}"
    assert wire.call("ListTables", b"{}") == b'{"a":1}'
    with pytest.raises(TargetUnreachable):  # one retry, not more
        wire.call("ListTables", b"{}")
    assert len(server.requests) == 5


def test_what_is_no_answer_of_dynamodb_is_refused_with_what_it_said(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]],
) -> None:
    _, wire = serve(answer(b"Not Found", status="404 Not Found"))
    with pytest.raises(RequestRefused, match="HTTP 404: b'Not Found'"):
        wire.call("ListTables", b"{}")


@pytest.mark.parametrize("code", ["ConditionalCheckFailedException", "ValidationException"])
@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "301 Moved", "204 No Content"])
def test_what_is_said_of_one_item_counts_only_as_dynamodb_says_it(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]], code: str, status: str
) -> None:
    _, wire = serve(answer(b'{"__type":"x#%b"}' % code.encode(), status=status))
    with pytest.raises(RequestRefused) as caught:
        wire.call("PutItem", b"{}")
    assert caught.value.code == f"HTTP {status[:3]} {code}"


def test_nobody_listening_is_target_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetUnreachable, match="cannot connect: Connection refused"):
        DynamoClient(Target(endpoint=f"http://127.0.0.1:{port}")).call("ListTables", b"{}")


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def test_a_server_on_this_machine_needs_no_credentials(
    no_credentials: None, serve: Callable[..., tuple[ScriptedServer, DynamoClient]]
) -> None:
    _, wire = serve(answer(b"{}"))
    assert wire.call("ListTables", b"{}") == b"{}"


@pytest.mark.parametrize("endpoint", ["", "http://dynamodb.example.com", "http://10.0.0.1:8000"])
def test_anywhere_else_missing_credentials_are_an_error_with_a_hint(no_credentials: None, endpoint: str) -> None:
    with pytest.raises(UserError, match="AWS_PROFILE"):
        DynamoClient(Target(endpoint=endpoint, region="eu-west-1"))


def test_settings_that_cannot_be_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="'localhost:8000' is not an endpoint URL"):
        DynamoClient(Target(endpoint="localhost:8000", region="eu-west-1"))
    with pytest.raises(UserError, match="nobody"):
        DynamoClient(Target(endpoint="http://127.0.0.1:1", profile="nobody"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UserError, match="region"):
        DynamoClient(Target())


def test_the_endpoint_comes_from_the_chain_when_the_project_names_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert DynamoClient(Target(region="eu-west-1")).endpoint == "https://dynamodb.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:4242")
    assert DynamoClient(Target(region="eu-west-1")).endpoint == "http://127.0.0.1:4242"


def test_streams_have_an_endpoint_of_their_own_in_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a VPC has it (docs/rds-aurora.md); one that the project names is used for both."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "http://127.0.0.1:4242")
    for target, endpoint in (
        (Target(region="eu-west-1"), "http://127.0.0.1:4242"),
        (Target(region="eu-west-1", endpoint="http://127.0.0.1:1"), "http://127.0.0.1:1"),
    ):
        with contextlib.closing(open_streams(target)) as client:
            assert client.meta.endpoint_url == endpoint


def one_call(target: Target) -> bytes:
    with contextlib.closing(DynamoClient(target)) as wire:
        return wire.call("ListTables", b"{}")


def test_tls_is_verified(tmp_path: Path) -> None:
    certificate = _self_signed(tmp_path)
    with _tls_server(certificate) as port:
        target = Target(endpoint=f"https://localhost:{port}")
        with pytest.raises(UserError, match="certificate is not trusted"):
            one_call(target)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CA_BUNDLE", str(certificate))
            assert one_call(target) == b"{}"


def test_a_proxy_is_gone_through_as_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = _self_signed(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with _tls_server(certificate) as port, _connect_proxy() as (proxy_port, asked):
        monkeypatch.setenv("https_proxy", f"http://me:s%40y@127.0.0.1:{proxy_port}")
        target = Target(endpoint=f"https://localhost:{port}")
        assert one_call(target) == b"{}"
        assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
        assert b"Proxy-Authorization: Basic bWU6c0B5\r\n" in asked[0]
        with pytest.raises(TargetUnreachable, match=r"does not let us through: HTTP/1\.1 407"):
            one_call(target)
        monkeypatch.setenv("no_proxy", "localhost")
        assert one_call(target) == b"{}"
        assert len(asked) == 2


def test_a_proxy_that_says_nothing_and_a_server_without_tls_are_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(_self_signed(tmp_path)))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    def hang_up(connection: socket.socket) -> None:
        connection.recv(65536)

    def not_tls(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with _accepting(hang_up) as proxy, _accepting(not_tls) as plain:
        target = Target(endpoint=f"https://localhost:{plain}")
        with pytest.raises(TargetUnreachable, match=r"cannot connect: TLS: (wrong version|record layer)"):
            one_call(target)
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy}")  # without a scheme, as many write it
        with pytest.raises(TargetUnreachable, match=r"the proxy 127\.0\.0\.1 closed the connection"):
            one_call(target)


def test_a_large_request_over_tls_is_sent_whole_to_a_server_that_reads_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fills what the kernel keeps for a connection, so that the client waits until it can write."""
    certificate, got = _self_signed(tmp_path), []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    body = b'{"a":"' + bytes(range(65, 91)) * 300_000 + b'"}'

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            read = bytearray()
            while not read.endswith(b'"}'):
                read += secure.recv(1 << 20)
            got.append(bytes(read))
            secure.sendall(answer(b"{}"))

    with _accepting(serve) as port, contextlib.closing(DynamoClient(Target(endpoint=f"https://localhost:{port}"))) as w:
        assert w.call("PutItem", body) == b"{}"
    assert got[0].endswith(body)


def test_a_connection_that_breaks_within_the_answer_is_told_from_one_that_gave_none() -> None:
    """The first may have done what was asked, and says that it did not read how it ended."""
    sent = [answer(b"{}")[:30], b""]

    def serve(connection: socket.socket) -> None:
        request_on(connection)
        connection.sendall(sent[0])
        if not sent.pop(0):
            return
        read.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    read = threading.Event()
    with _accepting(serve) as port:
        target = Target(endpoint=f"http://127.0.0.1:{port}")
        threading.Timer(0.1, read.set).start()
        with pytest.raises(UnexpectedAnswer, match="the connection broke within the answer"):
            one_call(target)
        with pytest.raises(TargetUnreachable, match="the connection was closed without an answer"):
            one_call(target)


def test_a_closed_client_opens_no_connection(
    serve: Callable[..., tuple[ScriptedServer, DynamoClient]],
) -> None:
    server, wire = serve(answer(b"{}"))
    wire.close()
    with pytest.raises(TargetUnreachable, match="the client is closed"):
        wire.call("ListTables", b"{}")
    assert server.connections == 0


@contextlib.contextmanager
def _tls_server(certificate: Path) -> Iterator[int]:
    """Answers one request a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            request_on(secure)
            secure.sendall(answer(b"{}"))

    with _accepting(serve) as port:
        yield port


@contextlib.contextmanager
def _connect_proxy() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that lets its first client through and no other; with the heads that it was asked with."""
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        asked.append(head)
        if len(asked) > 1:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        port = int(head.split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as onward:
            back = threading.Thread(target=_pump, args=(onward, connection), daemon=True)
            back.start()
            _pump(connection, onward)

    with _accepting(serve) as port:
        yield port, asked


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@contextlib.contextmanager
def _accepting(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _self_signed(folder: Path) -> Path:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "self-signed.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
