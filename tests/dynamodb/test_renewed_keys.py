"""Keys that end within seconds, from everywhere where boto3 finds such: every client of ours sends the new ones."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from whimbrel.bucket import Bucket
from whimbrel.dynamodb.session import Session, open_client
from whimbrel.dynamodb.streams import open_streams
from whimbrel.dynamodb.wire import KINESIS, DynamoClient
from whimbrel.errors import PrivilegeError, TargetUnreachable, UserError
from whimbrel.project import Store, Target

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/mover"
# Prints keys whose number is one more each time, unless a file says that it cannot.
PROCESS = """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
if (here / "down").exists():
    sys.exit("no keys today")
given = here / "given"
number = len(given.read_text()) if given.exists() else 0
given.write_text("x" * (number + 1))
print(json.dumps(json.loads((here / "form").read_text().replace("NUMBER", str(number)))))
"""


def keys(number: object, seconds: float = 60) -> dict[str, str]:
    end = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    names = {"AccessKeyId": f"key{number}", "SecretAccessKey": f"secret{number}", "Expiration": end}
    return names | dict.fromkeys(("Token", "SessionToken"), f"token-of-key{number}")


class Aws:
    """Every service of AWS that is needed here, on one port, and what keys its callers had."""

    def __init__(self) -> None:
        self.used: list[tuple[str, str]] = []  # access key and token, of each request but those for keys
        self.given = count()
        self.roles: list[str] = []  # what was asked for by AssumeRole
        self.denied = False
        aws = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the container's credentials
                self._answer(json.dumps(keys(next(aws.given))).encode())

            def do_HEAD(self) -> None:  # S3
                self._note()
                self._answer(b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if b"AssumeRole" in body:
                    aws.roles.append(body.decode())
                    self._answer(aws.role(), 403 if aws.denied else 200)
                else:
                    self._note()
                    self._answer(b'{"TableNames":[],"Streams":[],"StreamNames":[],"HasMoreStreams":false}')

            def _note(self) -> None:
                key = re.search("Credential=([^/]*)/", self.headers["Authorization"])
                assert key
                aws.used.append((key[1], self.headers.get("X-Amz-Security-Token", "")))

            def _answer(self, data: bytes, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def role(self) -> bytes:
        if self.denied:
            refusal = "<Code>AccessDenied</Code><Message>not this role</Message>"
            return f"<ErrorResponse><Error>{refusal}</Error></ErrorResponse>".encode()
        new = "".join(f"<{name}>{value}</{name}>" for name, value in keys(next(self.given)).items() if name != "Token")
        result = f"<AssumeRoleResult><Credentials>{new}</Credentials></AssumeRoleResult>"
        return f"<AssumeRoleResponse>{result}</AssumeRoleResponse>".encode()


@pytest.fixture
def aws() -> Iterator[Aws]:
    aws = Aws()
    thread = threading.Thread(target=aws.server.serve_forever, args=(0.01,))
    thread.start()
    yield aws
    aws.server.shutdown()
    thread.join()
    aws.server.server_close()


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, aws: Aws) -> Path:
    """Nothing of this machine says who we are."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_REGION", "REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
    (tmp_path / "process.py").write_text(PROCESS)
    (tmp_path / "form").write_text(json.dumps({"Version": 1} | keys("NUMBER")))
    (tmp_path / "config").write_text(
        f"[profile process]\ncredential_process = {sys.executable} {tmp_path / 'process.py'}\n"
        "[profile base]\naws_access_key_id = base\naws_secret_access_key = base\n"
        f"[profile role]\nrole_arn = {ROLE}\nsource_profile = base\nregion = {REGION}\n"
        f"[profile loop]\nrole_arn = {ROLE}\nsource_profile = nobody\n"
    )
    return tmp_path


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second later: keys are looked up once a second."""
    ticks = count(int(time.time()))
    monkeypatch.setattr(time, "time", lambda: next(ticks))


def dynamodb_wire(target: Target) -> Any:
    return DynamoClient(target)


def kinesis_wire(target: Target) -> Any:
    return DynamoClient(target, KINESIS)


class Called:
    """A client of boto3's as one of ours."""

    def __init__(self, call: Callable[[], object], close: Callable[[], None] = lambda: None) -> None:
        self._call, self.close = call, close

    def call(self, *_: object) -> None:
        self._call()


def tables(target: Target) -> Called:
    client = open_client(target)
    return Called(client.list_tables, client.close)


def kinesis(target: Target) -> Called:
    client = Session(target, "kinesis").service("kinesis")
    return Called(client.list_streams, client.close)


def streams(target: Target) -> Called:
    client = open_streams(target)
    return Called(client.list_streams, client.close)


def s3(target: Target) -> Called:
    bucket = Bucket(Store("bucket", "prefix", target.endpoint), Target(region=target.region, profile=target.profile))
    return Called(lambda: bucket.size("name"), lambda: bucket.client.close())


CLIENTS = [dynamodb_wire, kinesis_wire, tables, kinesis, streams, s3]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("source", ["container", "process", "role"])
@pytest.mark.usefixtures("seconds")
def test_new_keys_are_sent(
    aws: Aws, config: Path, client: Callable[[Target], Any], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "container":
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/keys")
    target = Target(endpoint=aws.url, region=REGION, profile="" if source == "container" else source)
    with closing(client(target)) as asking:
        for _ in range(3):
            asking.call("ListTables", b"{}")
    assert len({key for key, _ in aws.used}) == 3, aws.used
    assert all(token == f"token-of-{key}" for key, token in aws.used), aws.used
    if source == "role":
        assert all(f"RoleArn={ROLE.replace(':', '%3A').replace('/', '%2F')}" in each for each in aws.roles)


@pytest.mark.parametrize("client", [dynamodb_wire, kinesis_wire])
@pytest.mark.usefixtures("seconds")
def test_a_call_without_keys_may_be_tried_again(aws: Aws, config: Path, client: Callable[[Target], Any]) -> None:
    """Whoever gives them may be away for a moment."""
    with closing(client(Target(endpoint=aws.url, region=REGION, profile="process"))) as asking:
        asking.call("ListTables", b"{}")
        (config / "down").touch()
        with pytest.raises(TargetUnreachable, match=r"AWS credentials: .*no keys today"):
            asking.call("ListTables", b"{}")
        (config / "form").write_text(json.dumps({"Version": 1} | keys("NUMBER", -1)))
        (config / "down").unlink()
        with pytest.raises(TargetUnreachable, match=r"AWS credentials: .*expired"):
            asking.call("ListTables", b"{}")
        (config / "form").write_text(json.dumps({"Version": 1} | keys("NUMBER")))
        asking.call("ListTables", b"{}")
    assert len(set(aws.used)) == 2


def test_nobody_who_gives_keys_is_said_by_name(aws: Aws, config: Path) -> None:
    (config / "down").touch()
    with pytest.raises(TargetUnreachable, match=r"AWS credentials: .*no keys today"):
        Session(Target(endpoint=aws.url, region=REGION, profile="process"))


def test_a_role_that_may_not_be_taken_is_said_by_name(aws: Aws, config: Path) -> None:
    aws.denied = True
    with pytest.raises(PrivilegeError, match="AWS credentials: not this role"):
        DynamoClient(Target(endpoint=aws.url, profile="role"))


def test_a_profile_that_leads_nowhere_is_said_by_name(aws: Aws, config: Path) -> None:
    with pytest.raises(UserError, match=r"AWS credentials: .*nobody"):
        Session(Target(endpoint=aws.url, region=REGION, profile="loop"))
