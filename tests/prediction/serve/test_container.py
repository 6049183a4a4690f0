"""The container contract, with the real entry point: paths, port, /ping, /invocations, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.prediction.serve.conftest import wait_for
from tests.prediction.serve.models import ROW, model, model_file
from whimbrel.errors import UserError
from whimbrel.prediction.model.artifact import model_file as only_model_file


@contextmanager
def container(folder: Path, *words: str, without: str = "") -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = {"SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port), "WHIMBREL_HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "whimbrel.prediction.sagemaker.container", *words]
    if without:
        start = f"import sys; sys.modules[{without!r}] = None; from whimbrel.prediction.sagemaker import container as c"
        command = [sys.executable, "-c", f"{start}; sys.exit(c.main({list(words)!r}))"]
    process = subprocess.Popen(command, env=os.environ | more, stderr=subprocess.PIPE)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def ping(url: str) -> bool:
    with suppress(URLError, ConnectionError), urlopen(f"{url}/ping", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.parametrize("without", ["", "uvloop"], ids=["uvloop", "asyncio"])
def test_serve_answers_ping_and_invocations_and_ends_by_sigterm(tmp_path: Path, without: str) -> None:
    (tmp_path / "inner").mkdir()
    model_file(tmp_path / "inner")
    with container(tmp_path, "serve", without=without) as (process, url):
        wait_for(lambda: ping(url))
        request = Request(f"{url}/invocations", ROW.encode(), {"Content-Type": "text/csv"})
        with urlopen(request, timeout=10) as answer:
            expected = model().predict([ROW.split(",")])[0]
            assert json.loads(answer.read())["predictions"] == [{"score": expected.score, "predicted_label": 1}]
        with pytest.raises(HTTPError) as caught:
            urlopen(Request(f"{url}/invocations", b"x,y", {"Content-Type": "text/csv"}), timeout=10)
        assert caught.value.code == 400
        with caught.value as refusal:
            assert "'pdays' is missing" in json.loads(refusal.read())["error"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_damaged_model_ends_the_container_with_a_word(tmp_path: Path) -> None:
    file = model_file(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"retired", b"resired"))
    with container(tmp_path, "serve") as (process, _):
        assert process.wait(20) != 0
        assert process.stderr
        assert b"digest" in process.stderr.read()


def test_only_serve_and_train_are_known(tmp_path: Path) -> None:
    with container(tmp_path, "predict") as (process, _):
        assert process.wait(20) == 2


def test_there_must_be_one_model_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 0 model files"):
        only_model_file(tmp_path)
    model_file(tmp_path, "a")
    model_file(tmp_path, "b")
    with pytest.raises(UserError, match="has 2 model files"):
        only_model_file(tmp_path)
