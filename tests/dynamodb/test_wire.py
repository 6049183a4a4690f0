"""What a request to DynamoDB looks like, with botocore as the judge of its signature, and what becomes of an answer."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dynamodb.scripted import ScriptedServer, answer
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetUnreachable, UnexpectedAnswer
from whimbrel.project import Target

Serve = Callable[..., tuple[ScriptedServer, DynamoClient]]


def headers_of(request: bytes) -> dict[str, str]:
    head = request.partition(b"\r\n\r\n")[0].decode()
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


def signed_by(request: bytes, url: str, credentials: Credentials, region: str) -> bool:
    """Whether botocore would sign the request with the same headers in the same way."""
    head, _, body = request.partition(b"\r\n\r\n")
    headers = headers_of(head)
    signed = re.search("SignedHeaders=([^,]*)", headers["Authorization"])[1].split(";")
    again = AWSRequest("POST", url, {name: headers[name] for name in signed}, body)
    again.context["timestamp"] = headers["x-amz-date"]
    judge = SigV4Auth(credentials, "dynamodb", region)
    signature = judge.signature(judge.string_to_sign(again, judge.canonical_request(again)), again)
    scope = f"{credentials.access_key}/{headers['x-amz-date'][:8]}/{region}/dynamodb/aws4_request"
    assert {"content-type", "host", "x-amz-date", "x-amz-target"} <= set(signed)
    return headers["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    )


@settings(max_examples=25, deadline=None)
@given(
    body=st.binary(max_size=200),
    token=st.sampled_from(["", "a+b/c=="]),
    operation=st.sampled_from(["Scan", "PutItem"]),
    path=st.sampled_from(["", "/", "/behind/a/gateway"]),
)
def test_the_signature_is_botocores(body: bytes, token: str, operation: str, path: str) -> None:
    server = ScriptedServer(answer(b"{}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SESSION_TOKEN", token)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a secret/key+")
        wire = DynamoClient(Target(endpoint=server.endpoint + path, region="eu-central-1"))
        wire.call(operation, body)
    wire.close()
    server.close()
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert sent == body
    assert head.startswith(f"POST {path or '/'} HTTP/1.1\r\n".encode())
    headers = headers_of(server.requests[0])
    assert headers.get("x-amz-security-token", "") == token
    assert headers["host"] == server.endpoint.removeprefix("http://")
    assert headers["x-amz-target"] == f"DynamoDB_20120810.{operation}"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert headers["Accept-Encoding"] == "identity"  # nothing here unpacks an answer
    credentials = Credentials("local", "a secret/key+", token or None)
    assert signed_by(server.requests[0], server.endpoint + (path or "/"), credentials, "eu-central-1")


class Clock:
    """What the client takes for the time of day."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(datetime(2026, 11, 29, 23, 59, 58, tzinfo=UTC).timestamp())
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    monkeypatch.setattr(time, "time", clock)
    yield clock
    monkeypatch.undo()
    time.tzset()


def test_a_request_is_signed_for_the_second_in_which_it_is_made(clock: Clock, serve: Serve) -> None:
    """Into the next day, whose signing key is another one. DynamoDB refuses what is 15 minutes off."""
    server, wire = serve(*[answer(b"{}")] * 6)
    for operation in ("Scan", "PutItem"):
        wire.call(operation, b"{}")
    for later in (0.9, 1.1, 1.0, 1.0):
        clock.now += later
        wire.call("Scan", b"{}")
    dates = [headers_of(request)["x-amz-date"] for request in server.requests]
    assert dates == [
        *["20261129T235958Z"] * 3,
        *["20261130T000000Z", "20261130T000001Z", "20261130T000002Z"],
    ]
    credentials = Credentials("local", "local")
    for request in server.requests:
        assert signed_by(request, server.endpoint + "/", credentials, "us-east-1")
    targets = [headers_of(request)["x-amz-target"].partition(".")[2] for request in server.requests]
    assert targets == ["Scan", "PutItem", "Scan", "Scan", "Scan", "Scan"]


EXPIRED = answer(b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"too old"}', status="400 Bad")


def test_keys_that_expired_are_looked_up_again_and_the_call_repeated_with_the_new_ones(
    clock: Clock, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Within the same second too."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    lines = "[default]\naws_access_key_id = {0}\naws_secret_access_key = {0}\naws_session_token = {0}\n"
    file.write_text(lines.format("first"))
    server, wire = serve(answer(b"{}"), EXPIRED, answer(b'{"a":1}'), answer(b"{}"))
    wire.call("Scan", b'{"b":1}')
    file.write_text(lines.format("second"))
    assert wire.call("PutItem", b'{"b":2}') == b'{"a":1}'
    wire.call("Scan", b'{"b":3}')
    for request, key in zip(server.requests, ("first", "first", "second", "second"), strict=True):
        assert headers_of(request)["x-amz-security-token"] == key
        assert signed_by(request, server.endpoint + "/", Credentials(key, key, key), "us-east-1")
    told = [(headers_of(each)["x-amz-target"].partition(".")[2], each[-7:]) for each in server.requests]
    assert told == [("Scan", b'{"b":1}'), ("PutItem", b'{"b":2}'), ("PutItem", b'{"b":2}'), ("Scan", b'{"b":3}')]


@pytest.mark.parametrize("second", [EXPIRED, answer(b'{"__type":"x#ValidationException"}', status="400 Bad Request")])
def test_a_refusal_with_new_keys_is_the_error(serve: Serve, second: bytes) -> None:
    server, wire = serve(EXPIRED, second, answer(b"{}"))
    code = "ExpiredTokenException" if second == EXPIRED else "ValidationException"
    with pytest.raises(RequestRefused, match=f"PutItem at {server.endpoint}: {code}") as caught:
        wire.call("PutItem", b"{}")
    assert caught.value.code == code
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"not here"}',
         "ResourceNotFoundException", "ResourceNotFoundException: not here"),
        (b'{"__type":"ResourceNotFoundException","Message":"not here"}',
         "ResourceNotFoundException", "ResourceNotFoundException: not here"),
        (b'{"__type":"a#b#UnknownOperationException"}', "UnknownOperationException", "UnknownOperationException: "),
        (b'{"__type":"x#SomeException","message":"","Message":"other"}', "SomeException", "SomeException: other"),
        (b'{"message":"of something else"}', "HTTP 400", "HTTP 400: b'{\"message\":\"of something else\"}'"),
        (b'["__type"]', "HTTP 400", "HTTP 400: b'[\"__type\"]'"),
        (b"x" * 81, "HTTP 400", f"HTTP 400: b'{'x' * 80}'"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_dynamodb_says(serve: Serve, body: bytes, code: str, message: str) -> None:
    server, wire = serve(answer(body, status="400 Bad Request"))
    with pytest.raises(RequestRefused) as caught:
        wire.call("PutItem", b"{}")
    assert (caught.value.code, caught.value.message, caught.value.place) == (
        code,
        message,
        f"PutItem at {server.endpoint}",
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(b"[]"), "it is not a JSON object but b'[]'"),
        (answer(b"x" * 41), f"it is not a JSON object but b'{'x' * 40}'"),
        (answer(b"{}", head="x-amz-crc32: 1\r\n"), "its checksum does not match"),
        (answer(b"{}", status="400 Bad Request", head="x-amz-crc32: 1\r\n"), "its checksum does not match"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it is not a valid HTTP answer: b'SSH-2.0-OpenSSH_9.2\\r\\n\\r\\n'"),
    ],
)
def test_an_answer_that_is_not_dynamodbs_names_the_call_and_what_to_check(
    serve: Serve, reply: bytes, reason: str
) -> None:
    server, wire = serve(reply)
    with pytest.raises(UnexpectedAnswer) as caught:
        wire.call("PutItem", b"{}")
    assert caught.value.message == f"the answer does not have the documented form: {reason}"
    assert caught.value.place == f"PutItem at {server.endpoint}"
    assert "endpoint" in caught.value.hint


def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wire = DynamoClient(Target(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout=0.1)
        with pytest.raises(TargetUnreachable, match=r"PutItem at http://127\.0\.0\.1:\d+: no answer in time"):
            wire.call("PutItem", b"{}")
        wire.close()


def test_a_server_that_does_not_accept_is_given_up_in_time() -> None:
    """Its queue of connections is full, and the kernel lets the next ones wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        wire = DynamoClient(Target(endpoint=f"http://127.0.0.1:{full.getsockname()[1]}"), connect_timeout=0.1)
        with pytest.raises(TargetUnreachable, match="cannot connect: timed out"):
            wire.call("PutItem", b"{}")
        wire.close()


def test_keys_are_in_no_repr_and_no_error(serve: Serve) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
        patch.setenv("AWS_SESSION_TOKEN", "FwoGZXIvYXdz")
        _, wire = serve(answer(b"no", status="400 Bad Request"))
    with pytest.raises(RequestRefused) as caught:
        wire.call("ListTables", b"{}")
    shown = repr(vars(wire)) + repr(wire._session.credentials()) + repr(caught.value) + str(caught.value)
    assert all(secret not in shown for secret in ("wJalrXUtnFEMI", "FwoGZXIvYXdz"))
