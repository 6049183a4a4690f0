"""MariaDB's ed25519: the client's answer is a signature that the key in the server's account table accepts.

The judge is another library than the one that signs, and the key is the one that MariaDB's documentation has for this
password (``IDENTIFIED VIA ed25519 USING '…'``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.hostile import Session, hostile
from tests.test_login import CLIENTS, source_of
from whimbrel.errors import SourceError
from whimbrel.mysql import login
from whimbrel.project import Source

ACCOUNT = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"  # of the password "secret"
NONCES = [bytes(32), bytes(range(1, 33)), b"\xff" * 32]


@pytest.mark.parametrize("nonce", NONCES, ids=["zeros", "counted", "ones"])
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("local", [True, False], ids=["local", "elsewhere"])
def test_the_answer_is_signed_by_the_password(
    client: Callable[[Source], Any], nonce: bytes, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "is_loopback", lambda _address: local)  # it reveals nothing, so it may go anywhere
    signature = answer_of(client, "secret", nonce)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(ACCOUNT + "="))
    key.verify(signature, nonce)
    with pytest.raises(InvalidSignature):
        key.verify(answer_of(client, "Secret", nonce), nonce)


def answer_of(client: Callable[[Source], Any], password: str, nonce: bytes) -> bytes:
    answers: list[bytes] = []

    def act(session: Session) -> None:
        session.greet()
        answers.append(session.switch("client_ed25519", nonce))

    with hostile(act) as server, pytest.raises(SourceError):
        client(replace(source_of(server), password=password))
    assert password.encode() not in server.heard
    [answer] = answers
    return answer
