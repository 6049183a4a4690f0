"""Real servers in processes of their own, and the clients that people use: boto3 and the AWS CLI."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.prediction.serve.models import model_file
from whimbrel.prediction.serve.deploy import client_for

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")

ENDPOINT = "ServiceEndpoint"


class Running:
    """A server process; ``command`` prints {"url": …} as soon as it is ready."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self._command = command
        self._folder = folder
        self._environment = os.environ | environment
        self.start()

    def start(self) -> None:
        self._log = (self._folder / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            self._command, cwd=self._folder, stdout=subprocess.PIPE, stderr=self._log, env=self._environment
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, (self._folder / "stderr.txt").read_text()
        self.url = str(json.loads(line)["url"])
        self.port = int(self.url.rpartition(":")[2])
        self._clients: dict[str, Any] = {}

    def client(self, service: str = "sagemaker-runtime") -> Any:
        if service not in self._clients:
            self._clients[service] = client_for(self.url, service)
        return self._clients[service]

    def invoke(self, body: str | bytes, content_type: str = "text/csv", **more: Any) -> Any:
        return self.client().invoke_endpoint(EndpointName=ENDPOINT, Body=body, ContentType=content_type, **more)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self._close()

    def _close(self) -> None:
        assert self.process.stdout
        self.process.stdout.close()
        self._log.close()


def predictions(answer: Any) -> list[dict[str, Any]]:
    return list(json.loads(answer["Body"].read())["predictions"])


def version(answer: Any) -> str:
    return str(answer["ResponseMetadata"]["HTTPHeaders"]["x-whimbrel-model-version"])


def serve_command(folder: Path, project: str = "", *more: str) -> list[str]:
    (folder / "whimbrel.toml").write_text(project)
    return [sys.executable, "-m", "whimbrel", "serve", "--json", "--port", "0", *more]


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with one endpoint and model v1, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("serve")
    model = model_file(folder)
    running = Running(serve_command(folder, "", "--model", str(model)), folder)
    yield running
    assert running.stop() == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a server of the test's own in ``tmp_path``: that of faulty.py, or, given options, `whimbrel serve`."""
    started: list[Running] = []

    def begin(*command_line: str) -> Running:
        command = [sys.executable, "-m", "tests.prediction.serve.faulty", str(tmp_path)]
        if command_line:
            command = serve_command(tmp_path, "", *command_line)
        running = Running(command, tmp_path, PYTHONPATH=str(Path(__file__).parents[3]))
        started.append(running)
        return running

    yield begin
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def aws() -> Callable[..., Any]:
    """The AWS CLI, as a function from its words to what it prints."""
    command = shutil.which("aws")
    if command is None:
        pytest.skip("the AWS CLI is not installed")

    def run(url: str, *words: str) -> Any:
        done = subprocess.run(
            [command, *words, "--endpoint-url", url, "--output", "json"], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout) if done.stdout.strip() else {}

    return run
