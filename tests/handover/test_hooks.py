"""What hooks get to see, and that an answer of any kind is only another try."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.handover.test_settings import loaded
from whimbrel.errors import HandoverError
from whimbrel.handover.hooks import Told, post, run_command

TOLD = Told("switch", "dynamodb", 3, ("shop.purchase",), 5.0)


def test_no_password_reaches_a_program_whatever_its_variable_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHOP_BACK", "WHIMBREL_SOURCE_PASSWORD"):
        monkeypatch.setenv(name, "hidden")
    assert loaded(tmp_path, '[cutover]\nreverse_user = "back"\nreverse_password_env = "SHOP_BACK"\n')
    seen = tmp_path / "seen"
    program = f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    run_command([sys.executable, "-c", program], TOLD)
    assert "WHIMBREL_EVENT" in seen.read_text()
    assert "hidden" not in seen.read_text()


def test_an_answer_that_is_not_http_is_a_failure_of_the_hook() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"nonsense\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(HandoverError, match="the hook"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", TOLD)
