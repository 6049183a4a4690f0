"""What hooks get to see, and that an answer of any kind is only another try."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from demo.servers import MariaDB, SqlServer
from tests.e2e.work import Work
from tests.handover.conftest import set_up
from tests.handover.test_settings import loaded
from whimbrel.errors import HandoverError
from whimbrel.handover import hooks
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


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def test_the_end_of_the_program_counts_whoever_holds_its_output(tmp_path: Path) -> None:
    """Also with a great deal of output, of which the end is kept."""
    left = tmp_path / "pid"
    began = time.monotonic()
    try:
        run_command(shell(f"sleep 60 & echo $! > {left}"), TOLD)
        assert time.monotonic() - began < 5
        with pytest.raises(HandoverError, match=r"(?s)ended with 3: .*the reason") as error:
            run_command(shell("sleep 60 & yes | head -c 20000000; echo the reason; exit 3"), TOLD)
        assert time.monotonic() - began < 10
        assert len(str(error.value)) < 1000
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_a_program_that_does_not_end_is_ended_with_all_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "SECONDS", 0.5)
    left, began = tmp_path / "pid", time.monotonic()
    with pytest.raises(HandoverError, match=r"did not end within 0\.5 seconds"):
        run_command(shell(f"sleep 60 & echo $! > {left}; wait"), TOLD)
    stat = Path(f"/proc/{left.read_text().strip()}/stat")
    while stat.exists() and " Z " not in stat.read_text():
        assert time.monotonic() - began < 10, "it is still there"


def test_an_answer_that_comes_a_byte_at_a_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "SECONDS", 0.5)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.wait(0.1):
                    connection.sendall(b"x")

        threading.Thread(target=answer, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(HandoverError, match="not answered within"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", TOLD)
        over.set()
        assert time.monotonic() - began < 3


def step(shop: Work) -> str:
    path = shop.state / "handover.json"
    return str(json.loads(path.read_bytes())["step"]) if path.exists() else "FOLLOWING"


@pytest.mark.slow
def test_hooks_that_fail_keep_nobody_out_and_a_ctrl_c_is_heard(
    make_shop: Callable[[SqlServer], Work], mariadb: MariaDB
) -> None:
    """One after the other takes over, whichever way it goes; in the end the hook succeeds."""
    shop = make_shop(mariadb)
    works = shop.folder / "works"
    set_up(shop, f'on_switch = ["/bin/sh", "-c", "sleep 5 & test -e {works}"]')
    first = shop.start("cutover", "--yes")
    shop.wait_for(lambda: step(shop) == "DECIDED", first)
    second = shop.start("cutover", "--yes", "--until-open")
    assert first.wait(20) == 130
    shop.wait_for(lambda: not (shop.state / "takeover").exists(), second)
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 130
    for process in (first, second):
        assert "Traceback" not in process.communicate()[1]
    assert step(shop) == "DECIDED"
    works.touch()
    shop.run("cutover", "--yes", "--until-open")
    assert step(shop) == "OPEN"
