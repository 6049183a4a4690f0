"""A worker's client begins with what its parent's has found, and asks for itself when that is old or refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from whimbrel.dynamodb import session
from whimbrel.dynamodb.session import Credentials, KnownSession, KnownTarget, Session
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.project import Target

TARGET = Target(endpoint="http://127.0.0.1:9", region="eu-central-1")
GIVEN = KnownTarget("eu-west-1", "http://127.0.0.1:8", None, Credentials("given", "secret", "token"))
WITHOUT_BOTO3 = """
import sys
from whimbrel.dynamodb.session import Credentials, KnownTarget
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.project import Target
import whimbrel.migration.load_part, whimbrel.migration.reading_process
known = KnownTarget("eu-west-1", "http://127.0.0.1:8", None, Credentials("a", "b"))
DynamoClient(Target(), known=known)._signed("Scan", b"")
sys.exit({"boto3", "botocore"} & set(sys.modules) or 0)
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own secret")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)


def test_it_uses_what_it_is_given_and_imports_no_boto3() -> None:
    assert KnownSession(TARGET, "dynamodb", GIVEN).credentials() == GIVEN.credentials
    client = DynamoClient(TARGET, known=GIVEN)
    assert client.endpoint == "http://127.0.0.1:8"
    assert b"given/" in client._signed("Scan", b"{}")
    done = subprocess.run([sys.executable, "-c", WITHOUT_BOTO3], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_client_gives_what_it_has_found() -> None:
    assert DynamoClient(TARGET).known() == KnownTarget(
        "eu-central-1", TARGET.endpoint, None, Credentials("own", "own secret")
    )
    assert DynamoClient(TARGET, known=GIVEN).known() == GIVEN


def test_after_a_while_it_asks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "KNOWN_FOR", 0.0)
    assert KnownSession(TARGET, "dynamodb", GIVEN).credentials() == Session(TARGET).credentials()


def test_keys_that_were_refused_are_not_used_again() -> None:
    known = KnownSession(TARGET, "dynamodb", GIVEN)
    known.reload()
    assert known.credentials() == Credentials("own", "own secret")


def test_nothing_secret_is_shown() -> None:
    assert "secret" not in repr(GIVEN)
    assert "token" not in repr(GIVEN)
